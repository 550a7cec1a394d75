"""The example that follows the advice on a poor training set, in its small version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("advice")
    command = [sys.executable, str(ROOT / "examples" / "vacancy_advice.py"), "--quick", "--folder", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "vacancy_advice.png").stat().st_size > 10_000
    return json.loads((folder / "vacancy_advice.json").read_text())


def test_advice_lowers_the_error_with_as_many_structures(result):
    records = [one["record"] for one in result["rounds"]]
    assert {record["structures"] for record in records} == {records[0]["structures"]}
    errors = [record["geometry"] for record in records if record["geometry"] is not None]
    assert errors[0] >= 2 * errors[1]
    assert errors[0] >= 10 * errors[-1]
    assert abs(records[0]["energy"]) >= 100 * abs(records[-1]["energy"])


def test_every_round_follows_the_advice_of_the_one_before(result):
    first = result["rounds"][0]["advice"][0]
    assert first["limit"] == "core"
    assert first["changes"]["training"]["around"] == "defect"
    assert "No training cell holds the defect" in first["text"]


def test_linewidths_follow_the_error_of_the_defect(result):
    poor, advised = (result["linewidths"][name] for name in ("poor", "advised"))
    assert len(poor) == len(advised) == 2
    for one, other in zip(poor, advised, strict=True):
        assert one["rms"] > 4 * other["rms"]
