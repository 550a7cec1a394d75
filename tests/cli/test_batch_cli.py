"""`fluxan batch`."""

from __future__ import annotations

import json

import pytest

import fluxan
from tests.systems import argon_krypton


@pytest.fixture
def jobs(tmp_path):
    for name in ("1.nc", "2.nc"):
        fluxan.convert(argon_krypton(80), tmp_path / name)
    path = tmp_path / "jobs.toml"
    path.write_text('[defaults]\nmodel = "shipped:ar-kr"\ngroup = "state"\n[[job]]\ntrajectory = "*.nc"\n')
    return path


def test_runs_and_their_joint_conductivity(run, jobs):
    status, out, err = run("batch", jobs, "--quiet")
    assert (status, err) == (0, "")
    assert out.count("80 frames  κ = ") == 2
    assert "state with ar-kr: κ = " in out
    assert "scatter of 2 runs" in out
    assert (jobs.parent / "jobs-flux" / "batch.csv").is_file()


def test_json_and_the_status_of_a_failure(run, jobs):
    (jobs.parent / "2.nc").write_bytes(b"nothing")
    status, out, _ = run("batch", jobs, "--quiet", "--json")
    facts = json.loads(out)
    assert status == 1
    assert [r["failed"] for r in facts["runs"]] == [False, True]
    assert facts["runs"][1]["kappa"] is None
    assert facts["groups"][0]["runs"] == 1
    assert facts["groups"][0]["error"] is None


def test_a_fault_in_the_file_is_one_line(run, jobs):
    jobs.write_text("[[job]]\ntrajectory = 'none.nc'\n")
    status, out, err = run("batch", jobs)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "none.nc" in err
