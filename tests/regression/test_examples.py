"""The small versions of the studies run from beginning to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *options, folder):
    """Standard output of a study."""
    command = [sys.executable, str(EXAMPLES / name), "--quick", *map(str, options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_silver_iodide(tmp_path):
    out = run("silver_iodide.py", "--folder", tmp_path / "study", folder=tmp_path)
    results = json.loads((tmp_path / "study" / "silver_iodide.json").read_text())
    assert "linear model: strength" in out
    for phase in ("wurtzite", "alpha"):
        assert set(results[phase]["kappa"]) == {"reference", "no term", "term", "largest strength"}
        for found in results[phase]["distances"].values():
            for seeds in found.values():
                assert len(seeds) == 2
                assert all(value >= 0 for seed in seeds for bands in seed.values() for value in bands.values())
    assert (tmp_path / "study" / "silver_iodide.png").stat().st_size > 10_000


def test_silicon_mapping(tmp_path):
    run("silicon_mapping.py", "--folder", tmp_path / "study", folder=tmp_path)
    results = json.loads((tmp_path / "study" / "silicon_mapping.json").read_text())
    # Before any training: one thickness leaves an offset of surface atoms against those inside open.
    text = json.dumps(results, ensure_ascii=False)
    assert "Si with 3 neighbours" in text
    assert (tmp_path / "study" / "silicon_mapping.png").stat().st_size > 10_000


def test_screening(tmp_path):
    out = run("screen_crystals.py", "--folder", tmp_path / "screening", folder=tmp_path)
    rows = json.loads((tmp_path / "screening" / "screen_crystals.json").read_text())
    assert [row["name"] for row in rows] == ["argon", "argon-vacancy"]
    for row in rows:
        # Networks after ten epochs are no models: their events, or their collapse, are told.
        for when in ("before", "after"):
            judged = row[when]
            assert ("false" in judged["verdict"]) == bool(judged["false"] or judged["reason"])
            assert ("missed" in judged["verdict"]) == bool(judged["missed"])
        assert f"{row['name']}, before: {row['before']['verdict']}" in out
