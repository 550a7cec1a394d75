"""The loop as a whole: a basin that chance misses, kills, failures, other trainers, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from fluxan.active.credibility import Credibility
from fluxan.active.explore import Exploration, Explorer
from fluxan.active.learn_config import read_learn_config
from fluxan.active.learning_data import LearningFolder, source_of
from fluxan.active.loop import counted, learn, status_of
from fluxan.errors import FluxanError, InputError, OutputError
from fluxan.plain_files import read_json

ROOT = Path(__file__).parents[2]

ARGON = """
[reference]
calculator = "references:{reference}"
timeout = 60.0
[start]
structures = ["argon.xyz"]
temperature = 30.0
frames = 16
test_frames = 8
timestep = 5.0
spacing = 0.2
equilibration = 0.5
[model]
kind = "linear"
cutoff = 5.2
triplet_cutoff = 3.0
n_radial = 5
[ensemble]
subsamples = 3
seeds = 1
[explore]
temperature = 60.0
time = 0.6
timestep = 5.0
spacing = 0.1
samples = 3
[stop]
rounds = 1
tolerance = 1e-6
[output]
folder = "out"
"""


def argon_job(folder, reference="argon", **changes):
    """A folder with the files of a small loop; path of its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True).repeat((2, 1, 1))
    write(folder / "argon.xyz", atoms)
    (folder / "references.py").write_text((Path(__file__).parent / "references.py").read_text(encoding="utf-8"))
    text = ARGON.format(reference=reference)
    for old, new in changes.items():
        text = text.replace(*new) if isinstance(new, tuple) else text.replace(old, new)
    path = folder / "job.toml"
    path.write_text(text, encoding="utf-8")
    return path


def data_of(folder):
    """Bytes of the data set."""
    return {path.name: path.read_bytes() for path in sorted((folder / "out" / "data").glob("*.xyz"))}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A loop that was not interrupted, whose reference fails for one frame in four."""
    folder = tmp_path_factory.mktemp("whole")
    result = learn(read_learn_config(argon_job(folder, "faulty")))
    return folder, result


def test_records_tell_what_happened(finished):
    folder, result = finished
    assert result.status == "budget spent"
    assert [record["round"] for record in result.records] == [0, 1]
    files = LearningFolder(folder / "out")
    everything = files.training_frames(1)
    last = result.records[-1]
    assert last["labels"]["total"] == len(everything) == sum(last["composition"].values())
    assert {source_of(item) for item in everything} <= {"initial", "exploration", "last credible"}
    # What failed is told, by frame and reason, and every candidate has either a label or a reason.
    for number in (0,):
        record, place = result.records[number], files.round(number)
        assert record["labels"]["failed"] == len(record["labels"]["failures"])
        assert record["labels"]["new"] + record["labels"]["failed"] == len(files.read(place / "candidates.xyz"))
    failures = [text for record in result.records for text in record["labels"]["failures"]]
    failures += read_json(folder / "out" / "initial" / "failures.json")
    assert failures
    assert all("SCF did not converge" in text for text in failures)
    assert all(folder.exists() for folder in result.members)


def test_new_errors_are_those_before_training(finished):
    """Against the members, loaded from their files, and the calculator, evaluated here."""
    import fluxan
    from tests.active.references import argon

    folder, result = finished
    files = LearningFolder(folder / "out")
    members = [fluxan.load_model(files.member(0, k) / "model.safetensors") for k in range(3)]
    errors = []
    for item in files.frames("round-000"):
        atoms = Atoms(item.frame.numbers, item.frame.positions, cell=item.frame.cell, pbc=True, calculator=argon())
        right = atoms.get_forces()
        assert np.abs(right - item.forces).max() < 1e-8
        found = []
        for member in members:
            atoms.calc = fluxan.md.ase.FluxanCalculator(member)
            found.append(atoms.get_forces())
        errors.append(np.mean(found, axis=0) - right)
    assert result.records[0]["new"]["forces"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), abs=1e-8)


def test_a_loop_that_has_ended_stays_as_it_is(finished):
    folder, result = finished
    before = data_of(folder)
    again = learn(read_learn_config(folder / "job.toml"), resume=True)
    assert data_of(folder) == before
    assert again.records == result.records
    with pytest.raises(OutputError, match="--resume to go on"):
        learn(read_learn_config(folder / "job.toml"))


def test_more_rounds_go_on_and_other_settings_are_refused(finished, tmp_path):
    folder, result = finished
    shutil.copytree(folder, tmp_path / "copy")
    job = tmp_path / "copy" / "job.toml"
    text = job.read_text(encoding="utf-8")
    job.write_text(text.replace("temperature = 60.0", "temperature = 70.0"), encoding="utf-8")
    with pytest.raises(InputError, match=r"another \[explore\]"):
        learn(read_learn_config(job), resume=True)
    job.write_text(text.replace("rounds = 1", "rounds = 2"), encoding="utf-8")
    # The last record has no exploration: with a larger budget that round goes on.
    larger = read_learn_config(job)
    assert [record["round"] for record in counted(larger, result.records)] == [0]
    assert status_of(larger, counted(larger, result.records)) == "running"
    again = learn(larger, resume=True)
    assert [record["round"] for record in again.records] == [0, 1, 2]
    assert again.records[1]["exploration"] is not None
    assert data_of(tmp_path / "copy")["round-000.xyz"] == data_of(folder)["round-000.xyz"]


def test_the_last_round_keeps_to_the_budget_of_labels(tmp_path):
    job = argon_job(tmp_path, rule=("spacing = 0.1", 'spacing = 0.1\nrule = "random"'))
    text = job.read_text(encoding="utf-8")
    totals = {}
    for budget in (12, 27, 30):
        job.write_text(text.replace("rounds = 1", f"rounds = 4\nlabels = {budget}"), encoding="utf-8")
        result = learn(read_learn_config(job), resume=budget != 12)
        assert result.status == "budget spent"
        totals[budget] = [record["labels"]["total"] for record in result.records]
    # 16 initial frames, of which no budget takes any; then three runs, of three frames each where the budget allows.
    assert totals == {12: [16], 27: [25, 27, 27], 30: [25, 27, 30, 30]}
    last = LearningFolder(tmp_path / "out").frames("round-001")
    assert [item.trajectory.split()[-1] for item in last] == ["0", "1"]


def test_a_run_of_one_frame_has_no_events(tmp_path):
    job = argon_job(tmp_path, time=("time = 0.6", "time = 0.1"))
    result = learn(read_learn_config(job))
    assert result.records[0]["exploration"]["considered"] == 3
    assert result.records[0]["events"] is None


def kill(process, after):
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def test_killed_and_resumed_to_the_same_data(finished, tmp_path):
    """Killed in any phase by SIGKILL, its workers too, the loop comes to the same data set byte for byte."""
    job = argon_job(tmp_path, "faulty")
    command = [sys.executable, "-m", "fluxan", "learn", job, "--resume", "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    random, kills, wait = np.random.default_rng(5), 0, 2.0
    for _ in range(40):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        began = time.monotonic()
        # At first too short for any machine to come to the end, then longer and longer.
        killed = kill(process, random.uniform(0.5, 1.5) * wait)
        if not killed:
            assert process.returncode == 0, process.communicate()[1]
            break
        kills += 1
        wait = min(1.5 * wait, 60.0)
        assert time.monotonic() - began < 120
    else:
        pytest.fail("the loop came to no end")
    assert kills >= 1
    assert data_of(tmp_path) == data_of(finished[0])
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Budget spent" in page


class CopiesTrainer:
    """Members that are all the same."""

    def fit(self, train, validation, *, folder, seed, start):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "frames.json").write_text(json.dumps(len(train)))

    def load(self, folder):
        import fluxan

        return fluxan.load_model("shipped:ar")


def copies():
    return CopiesTrainer()


def no_trainer():
    return torch.nn.Identity()


def with_trainer(folder, name, **changes):
    path = argon_job(folder, **changes)
    text = path.read_text(encoding="utf-8")
    start, end = text.index("[model]"), text.index("[ensemble]")
    path.write_text(f'{text[:start]}[train]\ntrainer = "{name}"\n{text[end:]}', encoding="utf-8")
    (folder / "my_trainer.py").write_text(Path(__file__).read_text(encoding="utf-8"))
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_trainer:copies", "are members identical"),
        ("my_trainer:no_trainer", "no fit and no load"),
        ("my_trainer:nothing", "has no function 'nothing'"),
    ],
)
def test_other_trainers(tmp_path, name, message):
    with pytest.raises(FluxanError, match=message):
        learn(read_learn_config(with_trainer(tmp_path, name)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("temperature = 60.0", "temprature = 60.0", "explore.temprature is not a known key; did you mean temperature"),
        ("[explore]", "[explor]", "explor is not a known key; did you mean explore"),
        ("frames = 16", "frames = 1", "start.frames is 1"),
        ("seeds = 1", "seeds = 2", "identical whatever the seed"),
        ("subsamples = 3", "subsamples = 1", "ensemble.subsamples is 1"),
        ("rounds = 1", "rounds = 0", "stop.rounds is 0"),
        ('kind = "linear"', 'kind = "lineal"', "model.kind is 'lineal'"),
        ('["argon.xyz"]', '["argn.xyz"]', "'argn.xyz' names no file"),
        ("timestep = 5.0\nspacing = 0.2", "timestep = 500.0\nspacing = 0.6", "dynamics with the reference"),
    ],
)
def test_bad_settings_are_one_line(tmp_path, old, new, message):
    path = argon_job(tmp_path, change=(old, new))
    with pytest.raises(FluxanError, match=message):
        learn(read_learn_config(path))


def test_exploration_that_explodes_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(Credibility, "reason_against", lambda *_: "temperature 9999 K exceeds 200 K")
    path = argon_job(tmp_path)
    with pytest.raises(InputError, match=r"before a frame could be chosen \(temperature 9999"):
        learn(read_learn_config(path))


def test_too_few_frames_for_the_subsamples_are_refused(tmp_path):
    path = argon_job(tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("frames = 16", "frames = 4").replace("test_frames = 8", "test_frames = 3"), "utf-8")
    with pytest.raises(InputError, match=r"^4 frames to train on .* 3 subsamples, which need 6 and 3"):
        learn(read_learn_config(path))


def test_the_command_prints_what_there_is(finished, capsys, monkeypatch):
    from fluxan.cli import main

    folder, result = finished

    def printed(*arguments):
        monkeypatch.setattr(sys, "argv", ["fluxan", "learn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    code, out, _ = printed(folder / "job.toml", "--status", "--json")
    assert code == 0
    assert [record["round"] for record in json.loads(out)["rounds"]] == [0, 1]
    code, out, _ = printed(folder / "job.toml", "--status")
    assert code == 0
    assert f"{1e3 * result.records[0]['test']['forces']:.3g}" in out
    assert out.splitlines()[-3] == "budget spent"
    code, out, error = printed(folder / "job.toml")
    assert (code, out) == (2, "")
    assert "--resume" in error
    code, _, error = printed(folder / "job.toml", "--screen", folder / "nowhere")
    assert code == 2
    assert "no folder of structures" in error


def test_a_start_outside_physics_is_replaced_with_the_structure(tmp_path, monkeypatch):
    path, run, ideal = argon_job(tmp_path, change=("rounds = 1", "rounds = 2")), Explorer.run, []
    structure = read(tmp_path / "argon.xyz").positions

    def leaving(explorer, start, seed):
        ideal.append(bool(np.abs(start.positions - structure).max() < 1e-6))
        return run(explorer, start, seed) if ideal[-1] else Exploration(reason="too hot")

    monkeypatch.setattr(Explorer, "run", leaving)
    result = learn(read_learn_config(path))
    assert ideal == [True] * 3 + [False, True] * 3
    assert result.records[1]["exploration"]["considered"] > 0
