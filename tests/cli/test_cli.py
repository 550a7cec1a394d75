"""The command line as a user meets it: what it prints where, its exit status, one line per error."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import fluxan
from tests.systems import argon_krypton


@pytest.fixture
def trajectory(tmp_path):
    path = tmp_path / "traj.nc"
    fluxan.convert(argon_krypton(6), path, model_text=fluxan.load_model("shipped:ar-kr").describe())
    return path


def test_decompose_prints_a_table_whose_shares_add_up(run, trajectory, tmp_path):
    status, out, err = run("decompose", trajectory, "--output", tmp_path / "flux.nc", "--quiet")
    assert (status, err) == (0, "")
    assert "6 frames" in out
    assert "route local: local route passed" in out
    assert out.splitlines()[-1].split() == ["sum", "100.0%"]


def test_json_output(run, trajectory, tmp_path):
    status, out, _ = run("decompose", trajectory, "--output", tmp_path / "flux.nc", "--json", "--quiet")
    facts = json.loads(out)
    assert status == 0
    assert facts["n_frames"] == 6
    assert sum(part["share"] for part in facts["contributions"]) == pytest.approx(1)
    with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
        first = facts["contributions"][0]
        virial = dataset["potential"].sel(owner=first["owner"], carrier=first["carrier"])
        assert first["mean_square"] == pytest.approx(float((virial**2).sum("xyz").mean()))


def test_reader_options_reach_the_reader(run, reference, tmp_path):
    dump = reference / "arkr_mixture" / "traj.lammpstrj.gz"
    options = ["--elements", "Ar,Kr", "--timestep", "0.004", "--start", "2", "--stop", "8", "--stride", "2"]
    status, _, _ = run(
        "decompose", dump, "--model", "shipped:ar-kr", "--output", tmp_path / "flux.nc", "--quiet", *options
    )
    assert status == 0
    with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
        assert dataset.sizes["time"] == 3
        assert np.diff(dataset["time"].values) == pytest.approx(0.08)


def test_groups_from_a_file(run, trajectory, tmp_path):
    (tmp_path / "labels.txt").write_text("top\n" * 16 + "bottom\n" * 16)
    options = ["--groups", tmp_path / "labels.txt", "--output", tmp_path / "flux.nc", "--quiet"]
    status, out, _ = run("decompose", trajectory, *options)
    assert status == 0
    assert "bottom" in out


def test_resume_and_overwrite(run, trajectory, tmp_path):
    output = ["--output", tmp_path / "flux.nc", "--quiet"]
    assert run("decompose", trajectory, *output)[0] == 0
    status, out, err = run("decompose", trajectory, *output)
    assert (status, out) == (2, "")
    assert "exists; resume it, overwrite it, or give another output" in err
    assert run("decompose", trajectory, *output, "--resume")[0] == 0
    assert run("decompose", trajectory, *output, "--overwrite")[0] == 0


def test_info_of_trajectory_and_flux(run, trajectory, tmp_path):
    run("decompose", trajectory, "--output", tmp_path / "flux.nc", "--quiet")
    _, out, _ = run("info", trajectory)
    assert "n atoms     32" in out
    assert "16 Ar, 16 Kr" in out
    _, out, _ = run("info", tmp_path / "flux.nc", "--json")
    assert json.loads(out)["groups"] == ["Ar", "Kr"]


def test_convert_keeps_every_bit(run, reference, tmp_path):
    dump = reference / "ar_liquid" / "traj.lammpstrj.gz"
    output = tmp_path / "traj.nc"
    status, out, _ = run("convert", dump, "--elements", "Ar", "--double", "--timestep", "0.004", "--output", output)
    assert (status, out) == (0, f"wrote 40 frames to {output}\n")
    pairs = zip(fluxan.open_trajectory(dump, elements=["Ar"]), fluxan.open_trajectory(output), strict=True)
    for theirs, mine in pairs:
        assert np.array_equal(theirs.positions, mine.positions)
        assert np.array_equal(theirs.velocities, mine.velocities)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decompose", "none.nc"], "none.nc"),
        (["decompose", "{traj}", "--model", "none.toml"], "none.toml"),
        (["decompose", "{traj}", "--route", "fast"], "auto, local, adjoint, unfolded"),
        (["decompose", "{traj}", "--groups", "none.txt"], "none.txt"),
        (["decompose", "{traj}", "--start", "99"], "no frame"),
        (["decompose", "{traj}", "--device", "abacus"], "abacus"),
        (["info", "none.nc"], "none.nc"),
        (["info", __file__], "test_cli.py"),
        (["convert", "{traj}", "--output", "no/folder/x.nc"], "no/folder"),
    ],
)
def test_an_error_is_one_line(run, trajectory, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*[a.replace("{traj}", str(trajectory)) for a in arguments])
    assert (status, out) == (2, "")
    assert err.startswith("fluxan: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_warning_is_one_line(run, tmp_path):
    path = tmp_path / "leapfrog.nc"
    fluxan.convert(argon_krypton(3), path)
    path.write_bytes(path.read_bytes().replace(b"fluxan", b"sander"))
    options = ["--model", "shipped:ar-kr", "--output", tmp_path / "flux.nc", "--quiet"]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        status, _, err = run("decompose", path, *options)
    assert status == 0
    assert err.startswith("fluxan: warning: leapfrog.nc: velocities belong to half an MD step before")
    assert err.count("\n") == 1
    assert run("decompose", path, *options, "--no-leapfrog", "--overwrite")[2] == ""


def test_debug_shows_the_traceback(trajectory):
    command = [sys.executable, "-m", "fluxan.cli", "--debug", "info", "none.nc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("command", ["decompose", "info", "convert", "demo"])
def test_help_shows_an_example(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"Example: fluxan {command}" in out


def test_demo_equals_lammps_and_ends_with_kappa(run, tmp_path):
    status, out, _ = run("demo", "--output", tmp_path / "demo", "--quiet")
    assert status == 0
    assert out.count("equals LAMMPS' compute heat/flux in every frame") == 4
    assert (tmp_path / "demo" / "flux.png").read_bytes()[:4] == b"\x89PNG"
    end = out[out.index("κ = ") :]
    assert "owner\\carrier" in end
    assert "open it in a browser" in end
    assert "<figure" in (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert fluxan.open_flux(tmp_path / "demo" / "flux.nc").sizes["time"] == 2000
    assert Path(tmp_path / "demo").is_dir()
