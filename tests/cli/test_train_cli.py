"""`fluxan train` and `fluxan scan-strength` from files that ASE wrote."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import ase
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import fluxan
from tests.training_frames import crystal, labelled, training_frames

CONFIG = """
[data]
files = ["frames.xyz"]
units = { energy = "eV", forces = "eV/A", stress = "eV/A^3" }
stress = "ase"
validation = 0.25

[model]
kind = "KIND"
cutoff = 5.0
OPTIONS

[loss]
energy = 100.0
forces = 100.0
virial = 10.0
flux = 1e-6

[flux]
temperature = 60.0

[fit]
epochs = 3
batch_size = 4
learning_rate = 1e-2

[scan]
strengths = 3
seeds = 2
epochs = 2

[output]
folder = "model"
"""
DESCRIPTORS = "triplet_cutoff = 4.2\nn_radial = 4\nzetas = [1.0]\nwidths = [1.0]"
KINDS = {
    "linear": DESCRIPTORS,
    "behler-parrinello": f"{DESCRIPTORS}\nhidden = [6]",
    "equivariant": "n_features = 4\nn_basis = 4",
}


def images(items):
    for item in items:
        atoms = ase.Atoms(item.frame.numbers, item.frame.positions, cell=item.frame.cell, pbc=True)
        stress = -item.virial / item.frame.volume
        voigt = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        atoms.calc = SinglePointCalculator(atoms, energy=item.energy, forces=item.forces, stress=voigt)
        atoms.info["trajectory"] = item.trajectory
        yield atoms


@pytest.fixture
def configured(tmp_path):
    """Make a training file of a kind of model, with text replaced."""
    items = training_frames(11)
    # A frame that differs from the first by a strain alone shows the sign of the stress.
    deform = np.eye(3) + 0.002 * np.array([[1.0, 0.5, 0.0], [0.5, -0.4, 0.8], [0.0, 0.8, 0.6]])
    first = items[0].frame
    items.insert(1, labelled(first.replace(positions=first.positions @ deform, cell=first.cell @ deform)))
    items = [item.replace(trajectory=str(k // 2)) for k, item in enumerate(items)]
    write(tmp_path / "frames.xyz", list(images(items)))

    def make(kind="behler-parrinello", **changes):
        text = CONFIG.replace("KIND", kind).replace("OPTIONS", KINDS[kind])
        for old, new in changes.values():
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "training.toml"
        path.write_text(text)
        return path

    return make


def test_a_trained_model_moves_atoms(run, configured):
    path = configured("behler-parrinello")
    run("train", path, "--quiet")
    model = path.parent / "model" / "model.safetensors"
    write(path.parent / "start.xyz", next(images(training_frames(1))))
    options = ["--temperature", 30, "--time", 0.2, "--timestep", 2, "--thermalise", 0.1]
    output = path.parent / "md.nc"
    status, _, err = run("md", path.parent / "start.xyz", "--model", model, *options, "--output", output)
    assert status == 0, err
    with fluxan.open_flux(output) as dataset:
        assert np.isfinite(dataset["potential"].values).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_model_decomposes(run, configured, kind):
    path = configured(kind)
    status, out, err = run("train", path, "--quiet")
    assert (status, err) == (0, "")
    assert "8 frames of Ar, Kr from 4 trajectories to fit, 4 to validate with" in out
    assert "stress positive under tension" in out
    assert "meV/atom" in out
    model = path.parent / "model" / "model.safetensors"
    assert f"fluxan decompose run.nc --model {model}" in out
    frame = crystal(noise=0.1, temperature=60.0)
    assert fluxan.heat_flux(frame, model).route == ("adjoint" if kind == "equivariant" else "local")
    assert (path.parent / "model" / "history.png").exists() == (kind != "linear")


def test_frames_to_validate_with_may_lie_in_files_of_their_own(run, configured):
    path = configured("linear", files=("validation = 0.25", 'validation = ["held.xyz"]'))
    write(path.parent / "held.xyz", list(images(training_frames(3))))
    status, out, err = run("train", path, "--quiet")
    assert (status, err) == (0, "")
    assert "12 frames of Ar, Kr from 6 trajectories to fit, 3 to validate with" in out


def test_an_existing_model_is_not_touched(run, configured):
    path = configured("linear")
    run("train", path, "--quiet")
    status, _, err = run("train", path, "--quiet")
    assert status == 2
    assert "model.safetensors exists; give --resume to go on, --overwrite to begin anew" in err
    status, out, _ = run("train", path, "--quiet", "--overwrite", "--json")
    facts = json.loads(out)
    assert status == 0
    assert set(facts["errors"]) == {"energy", "forces", "virial", "flux"}


def test_more_epochs_need_a_new_folder_and_the_same_are_done(run, configured):
    path = configured()
    run("train", path, "--quiet")
    before = (path.parent / "model" / "model.safetensors").read_bytes()
    status, out, _ = run("train", path, "--quiet", "--resume")
    assert (status, "best epoch" in out) == (0, True)
    assert (path.parent / "model" / "model.safetensors").read_bytes() == before
    configured(epochs=("epochs = 3", "epochs = 4"))
    status, _, err = run("train", path, "--quiet", "--resume")
    assert (status, err.count("\n")) == (2, 1)
    assert "belongs to a fit with another settings" in err


FAULTS = {
    "section": (("[fit]", "[fits]"), "fits is not a known key; did you mean fit?"),
    "key": (("epochs = 3", "epoch = 3"), "fit.epoch is not a known key; did you mean epochs?"),
    "kind": (('"behler-parrinello"', '"mace"'), "model.kind is 'mace'; expected one of linear"),
    "option": (("n_radial", "n_radials"), "model.n_radials is not a known key; did you mean n_radial?"),
    "file": (('["frames.xyz"]', '["frame.xyz"]'), "data.files: 'frame.xyz' names no file in"),
    "unit": (('"eV/A^3"', '"psi"'), "frame 0: unit 'psi' of stress is not known"),
    "units left out": ((', stress = "eV/A^3"', ""), "frame 0: the unit of its stress is not stated"),
    "wrong stress": (('stress = "ase"', 'stress = "vasp"'), "its energies say: stress positive under tension"),
    "unknown convention": (('stress = "ase"', 'stress = "tension"'), "expected one of ase, vasp, lammps"),
    "share": (("validation = 0.25", "validation = 1.5"), "expected a number between 0 and 1"),
    "weight": (("forces = 100.0", "forces = -1"), "loss weight forces is -1"),
    "temperature": (("temperature = 60.0", "temperature = -60.0"), "temperature is -60.0 K"),
    "no form": (("[flux]\ntemperature = 60.0", ""), "the flux has a weight but no form"),
    "offsets": (("cutoff = 5.0\ntrip", "cutoff = 5.0\noffsets = { Ar = 1.0 }\ntrip"), "no energy of Kr"),
    "no velocities": (("temperature = 60.0", 'form = "velocities"'), "have no velocities"),
    "not TOML": (("[fit]", "[fit"), "is not TOML"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told_in_one_line(run, configured, name):
    change, message = FAULTS[name]
    status, out, err = run("train", configured(fault=change), "--quiet")
    assert (status, err.count("\n")) == (2, 1)
    assert message in err
    assert "Traceback" not in out + err


def test_missing_forces_and_single_frames_are_told(run, configured):
    path = configured()
    atoms = list(images(training_frames(3)))
    atoms[1].calc = SinglePointCalculator(atoms[1], energy=-1.0, stress=atoms[1].calc.results["stress"])
    write(path.parent / "frames.xyz", atoms)
    status, _, err = run("train", path, "--quiet")
    assert (status, err.count("\n")) == (2, 1)
    assert "have no forces" in err
    write(path.parent / "frames.xyz", atoms[:1])
    status, _, err = run("train", path, "--quiet")
    assert (status, err.count("\n")) == (2, 1)
    assert "the training set has 1 frame(s)" in err


def test_scan_of_a_linear_model(run, configured):
    path = configured("linear")
    status, out, err = run("scan-strength", path, "--quiet")
    assert (status, err) == (0, "")
    assert "linear model: strength" in out
    assert "directions of its weights open" in out
    status, out, _ = run("scan-strength", path, "--quiet", "--json")
    facts = json.loads(out)
    assert facts["strength"] == facts["linear"]["strength"] > 0
    with (path.parent / "model" / "scan.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 81
    assert (path.parent / "model" / "scan.png").stat().st_size > 10_000


def test_scan_of_networks_goes_on_where_it_was(configured):
    path = configured()
    command = [sys.executable, "-m", "fluxan", "scan-strength", str(path), "--quiet", "--json"]
    first = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    times = {p: p.stat().st_mtime_ns for p in (path.parent / "model" / "scan").rglob("model.safetensors")}
    # Two seeds; a start, strength zero and three strengths for each.
    assert len(times) == 10
    again = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert again["networks"] == first["networks"]
    assert times == {p: p.stat().st_mtime_ns for p in times}


def test_a_scan_needs_a_flux_term(run, configured):
    path = configured(flux=("flux = 1e-6\n\n[flux]\ntemperature = 60.0", ""))
    status, _, err = run("scan-strength", path, "--quiet")
    assert (status, err.count("\n")) == (2, 1)
    assert "a scan needs a flux term" in err
