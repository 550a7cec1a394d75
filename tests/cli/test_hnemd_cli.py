"""`fluxan hnemd` as a user meets it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

import fluxan
from fluxan.rounding import value_and_error


@pytest.fixture
def crystal(tmp_path):
    """32 atoms of argon in a file that ASE alone reads."""
    path = tmp_path / "POSCAR"
    write(path, bulk("Ar", "fcc", a=5.35, cubic=True).repeat(2), format="vasp")
    return path


@pytest.fixture
def hnemd(run, crystal, tmp_path):
    """Run that crystal for a short time; the output is named."""

    def runner(*options, output="flux.nc"):
        common = [
            "--model",
            "shipped:ar",
            "--temperature",
            "40",
            "--timestep",
            "4",
            "--flux-every",
            "2",
            "--time",
            "1.6",
        ]
        common += ["--thermalise", "0.2", "--checkpoint-every", "10", "--max-lag", "0.2", "--quiet"]
        return run("hnemd", crystal, *common, "--output", tmp_path / output, *options)

    return runner


def test_a_driving_force_that_is_given(run, hnemd, tmp_path):
    status, out, err = hnemd("--driving-force", "0.03", "--direction", "1,1,0")
    assert status == 0
    assert err.splitlines()[0] == "32 atoms, 0.2 ps at 40 K, then 1.6 ps nvt, a flux every 8 fs"
    assert "along (0.707 0.707 0), F_e = 0.03/Å" in out
    assert "spectral heat current: " in out
    result = fluxan.driven_conductivity(tmp_path / "flux.nc")
    assert f"κ = {value_and_error(result.kappa, result.error)} W/(m K) along" in out
    np.testing.assert_allclose(result.driving_force, 0.03 * np.array([1, 1, 0]) / np.sqrt(2))
    status, out, err = hnemd("--driving-force", "0.03", "--direction", "1,1,0")
    assert (status, out) == (2, "")
    assert "exists; resume it, overwrite it, or give another output" in err
    status, out, err = hnemd("--driving-force", "0.03", "--direction", "1,1,0", "--resume", "--time", "2.4", "--json")
    assert status == 0
    facts = json.loads(out)
    assert facts["method"] == "hnemd"
    assert facts["length"] == pytest.approx(0.9 * 2.4, rel=0.1)
    assert facts["kappa"] == pytest.approx(fluxan.driven_conductivity(tmp_path / "flux.nc").kappa)
    status, _, err = hnemd("--driving-force", "0.05", "--resume")
    assert status == 2
    assert "it was begun with driving_force = " in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--driving-force", "-1"], "expected a positive number, in 1/Å"),
        (["--driving-force", "3"], "of the production: the driving force heats the atoms to"),
        (["--direction", "north"], "expected x, y, z, or three numbers"),
        (["--driving-force", "0.1", "--time", "0.001"], "less than the 0.008 ps from flux to flux"),
        (["--check-time", "0.32"], "runs of 0.32 ps are too short to find a driving force"),
        (["--check-time", "-1"], "--check-time is -1.0, expected a positive time in ps"),
        (["--check-time", "0.1"], "a mean with an error needs 32"),
    ],
)
def test_what_cannot_be_run_is_one_line(hnemd, options, message):
    status, out, err = hnemd(*options)
    assert status == 2
    lines = [line for line in err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert "wrote" not in out


def test_a_cluster_cannot_be_driven(run, tmp_path):
    path = tmp_path / "cluster.xyz"
    write(path, bulk("Ar", "fcc", a=5.35, cubic=True).repeat(2), format="xyz")
    status, _, err = run("hnemd", path, "--model", "shipped:ar", "--temperature", "40")
    assert status == 2
    assert "cluster" in err


def test_refused_commands_leave_a_finished_run_alone(run, hnemd, crystal, tmp_path):
    """--overwrite removes nothing for a command that cannot run; a new run takes no spectrum of an old one."""
    assert hnemd("--driving-force", "0.03")[0] == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("flux.*")}
    assert "flux.spectrum.nc" in before
    slab = bulk("Ar", "fcc", a=5.35, cubic=True).repeat(2)
    slab.pbc = (True, True, False)
    write(tmp_path / "slab.xyz", slab)
    common = ["--model", "shipped:ar", "--temperature", "40", "--output", tmp_path / "flux.nc", "--overwrite"]
    status, _, err = run("hnemd", tmp_path / "slab.xyz", *common, "--direction", "x")
    assert (status, "has no volume, which κ needs" in err) == (2, True)
    one = bulk("Ar", "fcc", a=5.35)
    write(tmp_path / "one.xyz", one)
    status, _, err = run("hnemd", tmp_path / "one.xyz", *common)
    assert (status, "1 atom cannot move with its centre of mass at rest: repeat the cell" in err) == (2, True)
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("flux.*")}
    status, out, _ = hnemd("--driving-force", "0.06", "--max-lag", "0", "--overwrite")
    assert (status, "spectral" in out) == (0, False)
    assert not (tmp_path / "flux.spectrum.nc").exists()


def test_the_driving_force_is_found(hnemd, tmp_path, monkeypatch):
    """Results of the checks are prescribed, since true ones take long; files and order are real."""
    from fluxan.greenkubo.driven import driven_conductivity
    from fluxan.md import stopping
    from fluxan.md.hnemd import driving_choice

    def result(path):
        from dataclasses import replace

        found = driven_conductivity(path)
        return replace(found, kappa=0.5, error=5e-4 / found.strength, excess=0.0)

    monkeypatch.setattr(driving_choice, "driven_conductivity", result)
    monkeypatch.setattr(stopping, "driven_conductivity", result)
    status, out, err = hnemd("--check-time", "0.8")
    assert status == 0, err
    lines = [line for line in out.splitlines() if line.startswith("F_e = ")]
    assert len(lines) >= 3
    chosen = re.search(r"chosen: F_e = ([0-9.]+)/Å, the largest whose κ agrees with that at smaller ones", out)
    assert f"F_e = {chosen[1]}" in out
    assert (tmp_path / "flux.check2.nc").exists()
    with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
        assert dataset.sizes["time"] == 200
        assert np.linalg.norm(dataset.attrs["driving_force"]) == pytest.approx(float(chosen[1]), rel=1e-2)
    status, again, err = hnemd("--check-time", "0.8", "--resume", "--time", "2.4")
    assert status == 0, err
    assert "chosen" not in again  # the production was begun: its driving force stays
    with fluxan.open_flux(tmp_path / "flux.nc") as dataset:
        assert np.isfinite(dataset.attrs["nonlinearity"])
    status, _, err = hnemd("--check-time", "0.8", "--resume", "--direction", "y")
    assert status == 2
    assert "its driving force is along [1.0, 0.0, 0.0], now it is along [0.0, 1.0, 0.0]" in err
