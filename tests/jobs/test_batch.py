"""Job files, the runs they ask for, and what is said of them together."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import fluxan
from fluxan.errors import FileError, InputError
from fluxan.jobs.batch import TABLE, Outcome, replicas, run_batch
from fluxan.jobs.job_file import Task, read_jobs
from fluxan.series.schema import VARIABLES
from tests.systems import argon_krypton

JOBS = """
output = "out"
[defaults]
model = "shipped:ar-kr"
[[job]]
trajectory = "a/*.nc"
group = "state"
[[job]]
trajectory = "b.nc"
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    for name, n_frames in (("a/1.nc", 80), ("a/2.nc", 90), ("b.nc", 3)):
        fluxan.convert(argon_krypton(n_frames), tmp_path / name, double=True)
    (tmp_path / "jobs.toml").write_text(JOBS)
    return tmp_path


def table(folder):
    with (folder / "out" / TABLE).open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_every_run_has_a_flux_and_a_row(folder):
    outcomes = list(run_batch(read_jobs(folder / "jobs.toml"), progress=False))
    assert [o.task.name for o in outcomes] == ["a_1.ar-kr", "a_2.ar-kr", "b.ar-kr"]
    assert [o.n_frames for o in outcomes] == [80, 90, 3]
    rows = table(folder)
    for outcome in outcomes[:2]:
        with fluxan.open_flux(folder / "out" / f"{outcome.task.name}.nc") as mine:
            alone = fluxan.decompose(outcome.task.trajectory, "shipped:ar-kr", progress=False)
            for name in VARIABLES:
                np.testing.assert_array_equal(mine[name], alone[name], err_msg=name)
        found = fluxan.green_kubo(alone)
        assert (outcome.kappa, outcome.error) == (found.kappa, found.error)
        row = rows[outcome.task.name]
        assert (float(row["kappa"]), float(row["kappa_Kr"])) == (found.kappa, found.by_carrier[1])
    # Three frames are a flux, but no conductivity: the row says so.
    assert not outcomes[2].failed
    assert rows["b.ar-kr"]["kappa"] == ""
    assert "a conductivity needs 64" in rows["b.ar-kr"]["problem"]


def test_a_failed_run_does_not_stop_the_others_and_can_be_repeated(folder):
    whole = (folder / "a" / "1.nc").read_bytes()
    (folder / "a" / "1.nc").write_bytes(b"nothing")
    first, *others = run_batch(read_jobs(folder / "jobs.toml"), progress=False)
    assert first.failed
    assert "1.nc" in first.problem
    assert not any(o.failed for o in others)
    (folder / "a" / "1.nc").write_bytes(whole)
    done = folder / "out" / "a_2.ar-kr.nc"
    before = done.read_bytes()
    again = list(run_batch(read_jobs(folder / "jobs.toml"), progress=False))
    assert not any(o.failed for o in again)
    assert done.read_bytes() == before
    assert table(folder)["a_1.ar-kr"]["frames"] == "80"


def outcome(group, kappa, error, model="m"):
    return Outcome(Task("x", None, model, group), 10, kappa, error, "W/(m K)")


def test_independent_runs_together():
    rng = np.random.default_rng(0)
    kappa, errors = rng.normal(1, 0.1, 9), rng.uniform(0.05, 0.2, 9)
    runs = [outcome("s", k, e) for k, e in zip(kappa, errors, strict=True)]
    (found,) = replicas([*runs, outcome("", 5, 1), outcome("s", np.nan, np.nan)])
    assert (found.n_runs, found.kappa) == (9, pytest.approx(kappa.mean()))
    assert found.error == pytest.approx(np.sqrt(((kappa - kappa.mean()) ** 2).sum() / 8 / 9))
    assert found.expected == pytest.approx(np.sqrt((errors**2).sum()) / 9)
    (single,) = replicas(runs[:1])
    assert np.isnan(single.error)
    assert single.expected == errors[0]
    assert len(replicas([outcome("s", 1, 1), outcome("s", 1, 1, "other")])) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[job]", "not TOML"),
        ("", "no job"),
        ("colour = 1\n[[job]]\ntrajectory = 'b.nc'", "colour"),
        ("[[job]]\ntrajectory = 'b.nc'\nmodle = 'x'", "modle"),
        ("[[job]]\nmodel = 'x'", "job 1: trajectory is missing"),
        ("[[job]]\ntrajectory = 'c*.nc'", "names no file"),
        ("[[job]]\ntrajectory = 3", "expected a word or a list of words"),
        ("[[job]]\ntrajectory = 'b.nc'\nreader = {colour = 1}", "colour"),
        ("[[job]]\ntrajectory = 'b.nc'\n[[job]]\ntrajectory = 'b.nc'", "would both be called"),
        ("[[job]]\ntrajectory = 'a/*.nc'\nname = 'one'", "goes with one trajectory"),
        ("[defaults]\nname = 'x'\n[[job]]\ntrajectory = 'b.nc'", "belongs to a job"),
    ],
)
def test_bad_job_files(folder, text, message):
    (folder / "jobs.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_jobs(folder / "jobs.toml")


def test_no_job_file(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read_jobs(tmp_path / "jobs.toml")
