"""The small versions of the studies run from beginning to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *options, folder):
    """Standard output of a study."""
    command = [sys.executable, str(EXAMPLES / name), "--quick", *map(str, options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def killed(command, after, folder):
    """Whether SIGKILL hit a command and its workers before it was done, after some seconds."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        assert process.wait(timeout=after) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


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


def test_silicon_defects(tmp_path):
    out = run("silicon_defects.py", "--folder", tmp_path, folder=tmp_path)
    rows = json.loads((tmp_path / "silicon_defects.json").read_text())
    energy = {(row["defect"], row["atoms"]): row["formation energy"] for row in rows}
    assert 2.5 < energy["vacancy, pairs", 216] < 2.8
    assert 4.3 < energy["vacancy, ideal", 216] < 4.4
    assert 4.9 < energy["interstitial", 216] < 5.2
    assert out.count("atoms  E_f") == 6
    assert (tmp_path / "silicon_defects.png").stat().st_size > 10_000


def test_rare_events(tmp_path):
    out = run("rare_events.py", "--folder", tmp_path / "study", folder=tmp_path)
    results = json.loads((tmp_path / "study" / "rare_events.json").read_text())
    assert "false, published, seed 0" in out
    for failure in ("false", "missed"):
        ensembles = results["failures"][failure]["ensembles"]
        assert {"before", "published", "random", "more frames", "flux", "without P_E"} == set(ensembles)
        for row in ensembles.values():
            assert all(0 < error < 1000 for error in row["test errors"])
        labels = {rule: row["labels"][0] for rule, row in ensembles.items()}
        assert labels["before"] <= labels["published"] == labels["more frames"]
    assert results["transport"]["reference"]["kappa"] > 0
    # Lennard-Jones at the lattice constant of 75 K; networks after ten epochs have any barrier.
    assert 35 < results["reference"]["barrier"] < 41
    height = {rule: row["barriers"] for rule, row in results["failures"]["missed"]["ensembles"].items()}
    assert height["before"][0] > results["reference"]["barrier"] + 1
    assert abs(height["published"][0] - results["reference"]["barrier"]) < 2
    assert (tmp_path / "study" / "rare_events.csv").read_text().startswith("failure,ensemble,events")
    assert (tmp_path / "study" / "rare_events.png").stat().st_size > 10_000
    killed_and_resumed(tmp_path, tmp_path / "study" / "loops" / "false-published-0")


def killed_and_resumed(folder, whole):
    """A loop of the study, killed and resumed by the command, comes to the same data in spite of failing labels."""
    job = folder / "study" / "killed.toml"
    text = (folder / "study" / f"{whole.name}.toml").read_text(encoding="utf-8")
    job.write_text(text.replace(str(whole), str(folder / "killed")), encoding="utf-8")
    command, wait, kills = [sys.executable, "-m", "fluxan", "learn", str(job), "--resume", "--quiet"], 2.0, 0
    chance = np.random.default_rng(0)
    while killed(command, chance.uniform(0.7, 1.3) * wait, folder):
        kills, wait = kills + 1, min(1.5 * wait, 120.0)
        assert kills < 20
    assert kills
    data = [
        {path.name: path.read_bytes() for path in (loop / "data").glob("*.xyz")} for loop in (whole, folder / "killed")
    ]
    assert len(data[0]) > 2
    assert data[0] == data[1]
    records = [json.loads(path.read_text()) for path in (folder / "killed" / "rounds").glob("*/round.json")]
    failed = json.loads((folder / "killed" / "initial" / "failures.json").read_text())
    failed += [line for record in records for line in record["labels"]["failures"]]
    assert any("SCF did not converge" in line for line in failed)
    assert "Budget spent" in (folder / "killed" / "index.html").read_text(encoding="utf-8")
