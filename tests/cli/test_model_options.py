"""Options of models that are read through adapters: on every command that names a model, and in job files."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import typer.main

import fluxan
from fluxan.cli.app import app
from fluxan.errors import InputError
from fluxan.jobs.batch import run_batch
from fluxan.jobs.job_file import read_jobs
from tests.potentials.adapters.agreement import system

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's opinion of how e3nn and MACE use it
    from tests.potentials.adapters.mace_models import ELEMENTS, mace_model, scripted

ROOT = Path(__file__).parents[2]
HEADS = ["pbe", "r2scan"]
NAMES = ("decompose", "md", "report")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    torch.save(mace_model(), folder / "eager.model")
    torch.save(mace_model(heads=HEADS), folder / "heads.model")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(scripted(mace_model(heads=HEADS)), folder / "scripted.model")
    first = system(ELEMENTS, cell=3.6)
    frames = [first, first.replace(positions=first.positions + 0.01 * first.velocities, time=0.01)]
    fluxan.convert(frames, folder / "run.nc", double=True)
    return folder


def flux(path):
    with fluxan.open_flux(path) as dataset:
        return dataset["potential"].values.copy(), dict(dataset.attrs)


@pytest.mark.parametrize(("head", "dtype"), [("pbe", "float64"), ("r2scan", "float64"), ("r2scan", "float32")])
def test_decompose(head, dtype, files, tmp_path, run):
    options = ["--trust-pickle", "--head", head, "--dtype", dtype, "--output", tmp_path / "f.nc", "--quiet"]
    arguments = ["decompose", files / "run.nc", "--model", f"mace:{files}/heads.model", *options]
    status, _, said = run(*arguments)
    assert status == 0, said
    found, attributes = flux(tmp_path / "f.nc")
    model = fluxan.load_model(f"mace:{files}/heads.model", trust_pickle=True, head=head, dtype=dtype)
    expected = fluxan.decompose(files / "run.nc", model, progress=False)["potential"].values
    np.testing.assert_array_equal(found, expected)
    assert f"head={head} dtype={dtype}" in attributes["model"]
    assert run(*arguments, "--resume")[0] == 0
    other = [{"pbe": "r2scan", "r2scan": "pbe"}.get(a, a) if isinstance(a, str) else a for a in arguments]
    status, _, said = run(*other, "--resume")
    assert (status, said.count("\n")) == (2, 1), said
    assert "model_sha256" in said


def test_a_scripted_model_with_options_reaches_dask_workers(files, tmp_path, run):
    from distributed import LocalCluster

    options = ["--model", f"mace:{files}/scripted.model", "--head", "r2scan", "--quiet"]
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster:
        there = [*options, "--output", tmp_path / "a.nc", "--dask", cluster.scheduler_address]
        status, _, said = run("decompose", files / "run.nc", *there)
    assert status == 0, said
    assert run("decompose", files / "run.nc", *options, "--output", tmp_path / "b.nc")[0] == 0
    np.testing.assert_array_equal(flux(tmp_path / "a.nc")[0], flux(tmp_path / "b.nc")[0])


def test_md_and_its_restart(files, tmp_path, run):
    def md(time, head, *more):
        return run(
            "md", files / "run.nc", "--model", f"mace:{files}/heads.model", "--trust-pickle", "--head", head, "--quiet",
            "--temperature", "30", "--timestep", "0.1", "--thermalise", "0.001", "--flux-every", "1",
            "--checkpoint-every", "2", "--time", time, "--output", tmp_path / "md.nc", *more,
        )  # fmt: skip

    status, _, said = md("0.0004", "r2scan")
    assert status == 0, said
    assert md("0.0008", "r2scan", "--resume")[0] == 0
    assert len(flux(tmp_path / "md.nc")[0]) == 8
    status, _, said = md("0.001", "pbe", "--resume")
    assert (status, said.count("\n")) == (2, 1), said
    assert "model_sha256" in said


@pytest.mark.parametrize("command", NAMES)
@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("eager.model", [], "if you trust where it is"),
        ("heads.model", ["--trust-pickle", "--head", "hse"], "pbe, r2scan"),
        ("eager.model", ["--trust-pickle", "--dtype", "float16"], "float16"),
        ("eager.model", ["--trust-pickle", "--modal", "PBE"], "takes no option modal"),
        (None, ["--trust-pickle"], "--trust-pickle without a model"),
    ],
)
def test_faults_are_one_line(command, model, options, message, files, tmp_path, run):
    given = {
        "decompose": [files / "run.nc", "--output", tmp_path / "f.nc"],
        "md": [files / "run.nc", "--temperature", "300", "--time", "0.1", "--output", tmp_path / "f.nc"],
        "report": [tmp_path / "flux.nc", "--trajectory", files / "run.nc", "--output", tmp_path / "r.html"],
    }[command]
    if command == "report":
        fluxan.decompose(
            files / "run.nc", fluxan.load_model(f"mace:{files}/eager.model", trust_pickle=True),
            output=tmp_path / "flux.nc", progress=False,
        )  # fmt: skip
    named = [] if model is None else ["--model", f"mace:{files}/{model}"]
    status, out, said = run(command, *given, *named, *options)
    assert (status, out, said.count("\n")) == (2, "", 1), said
    assert message in said


JOBS = {
    "defaults": """
        [defaults]
        trust_pickle = true
        [[job]]
        trajectory = "run.nc"
        model = ["mace:heads.model", "mace:scripted.model"]
        head = "r2scan"
    """,
    "tables": """
        [[job]]
        trajectory = "run.nc"
        model = [
            { file = "mace:heads.model", trust_pickle = true, head = "r2scan" },
            { file = "mace:scripted.model", head = "r2scan" },
        ]
    """,
}


@pytest.mark.parametrize("name", JOBS)
def test_keys_of_a_job_file(name, files):
    path = files / f"{name}.toml"
    path.write_text(JOBS[name], encoding="utf-8")
    outcomes = list(run_batch(read_jobs(path), progress=False))
    assert not [outcome.problem for outcome in outcomes if outcome.failed]
    assert [o.task.name for o in outcomes] == ["run.heads-r2scan", "run.scripted-r2scan"]
    eager, script = (flux(files / f"{name}-flux" / f"{o.task.name}.nc")[0] for o in outcomes)
    np.testing.assert_allclose(eager, script, atol=1e-9 * np.abs(eager).max())
    pbe = fluxan.load_model(f"mace:{files}/scripted.model", head="pbe")
    other = fluxan.decompose(files / "run.nc", pbe, progress=False)["potential"].values
    assert np.abs(other - eager).max() > 1e-3 * np.abs(eager).max()


def test_heads_of_one_model_are_different_runs(files):
    (files / "both.toml").write_text(
        """
        [[job]]
        trajectory = "run.nc"
        model = [{ file = "mace:scripted.model", head = "pbe" }, { file = "mace:scripted.model", head = "r2scan" }]
        """
    )
    assert [task.name for task in read_jobs(files / "both.toml").tasks] == ["run.scripted-pbe", "run.scripted-r2scan"]


def test_defaults_apply_to_models_that_have_the_option(files):
    (files / "mixed.toml").write_text(
        """
        [defaults]
        trust_pickle = true
        head = "pbe"
        model = ["shipped:ar", "mace:heads.model"]
        [[job]]
        trajectory = "run.nc"
        """
    )
    tasks = read_jobs(files / "mixed.toml").tasks
    assert [task.adapter for task in tasks] == [{}, {"trust_pickle": True, "head": "pbe"}]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("model = 'mace:heads.model'\ntrust_pickle = 'yes'", "trust_pickle is 'yes'; expected true or false"),
        ("model = 'mace:heads.model'\nhead = 3", "head is 3; expected a word"),
        ("model = 'mace:heads.model'\nmodal = 'PBE'", "takes no modal; it takes trust_pickle, head, dtype"),
        ("model = 'shipped:ar'\nhead = 'pbe'", "takes no head; it takes no options"),
        ("model = { file = 'mace:heads.model', haed = 'pbe' }", "haed"),
        ("model = { head = 'pbe' }", "model.file is None"),
        ("model = ['shipped:ar', { file = 'shipped:ar', dtype = 'float32' }]", "takes no dtype"),
        ("model = 'mice:heads.model'", "no adapter 'mice'"),
        ("model = 'mace:heads.model'\ntrust-pickle = true", "trust_pickle"),
    ],
)
def test_bad_keys(keys, message, files):
    path = files / "bad.toml"
    path.write_text(f"[[job]]\ntrajectory = 'run.nc'\n{keys}\n")
    with pytest.raises(InputError, match=re.escape(message)):
        read_jobs(path)


def test_messages_of_batch_name_keys(files, run):
    path = files / "untrusted.toml"
    path.write_text("[[job]]\ntrajectory = 'run.nc'\nmodel = 'mace:eager.model'\n[[job]]\ntrajectory = 'run.nc'\n")
    status, out, _ = run("batch", path, "--quiet")
    assert status == 1
    assert "set trust_pickle = true in the job file" in out
    assert "give model = in the job file" in out
    assert "--model" not in out
    assert "--trust" not in out


def test_a_checkpoint_is_not_opened_to_be_stored(files, tmp_path, run):
    status, _, said = run(
        "convert", files / "run.nc", "--output", tmp_path / "c.nc", "--model", f"mace:{files}/eager.model"
    )
    assert status == 2
    assert "only analytic potentials have" in said
    assert "--trust-pickle" not in said


def test_every_option_that_a_message_names_exists():
    group = typer.main.get_command(app)
    known = {opt for command in group.commands.values() for p in command.params for opt in (*p.opts, *p.secondary_opts)}
    known |= {opt for p in group.params for opt in p.opts} | {"--help"}
    for path in (ROOT / "fluxan").rglob("*.py"):
        if path.name == "template.py":  # CSS
            continue
        for option in re.findall(r"(?<!pip install )(?<![\w-])--[a-z][a-z-]+", path.read_text()):
            assert option in known, f"{path}: {option}"
