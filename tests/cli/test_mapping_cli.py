"""`fluxan mapping`: tables, JSON, training files, and one line for what is not usable."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, diamond100
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from fluxan.md.ase import FluxanCalculator
from tests.training_frames import crystal, labelled, training_frames


def write_structures(path, structures, scale=1.0):
    frames = []
    for atoms in structures:
        copy = atoms.copy()
        copy.calc = FluxanCalculator("shipped:si")
        energy = copy.get_potential_energy() * scale
        copy.calc = SinglePointCalculator(copy, energy=energy, stress=np.zeros(6))
        frames.append(copy)
    write(path, frames, format="extxyz")
    return path


def slab(layers, seed=0):
    atoms = diamond100("Si", size=(2, 2, layers), a=5.431, vacuum=8.0)
    atoms.pbc = (True, True, False)
    atoms.rattle(0.03, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mapping")
    write_structures(folder / "slabs.xyz", [slab(8, seed) for seed in range(3)])
    write_structures(folder / "other.xyz", [slab(12), bulk("Si", a=5.431)])
    write_structures(folder / "points.xyz", [bulk("Si", a=5.431 * x) for x in (0.99, 1.01)])
    write_structures(folder / "hartree.xyz", [bulk("Si", a=5.431)], 1 / 27.211386245988)
    (folder / "text.xyz").write_text("no structure")
    return folder


def test_before_a_training(run, files):
    options = ["--training", files / "slabs.xyz", "--candidates", files / "other.xyz"]
    status, printed, said = run("mapping", "none", files / "points.xyz", *options)
    assert status == 0, said
    assert "+1 on 'Si with 2 neighbours', −0.33 on 'Si with 4 neighbours'" in printed
    assert f"Of the candidates, {files}/other.xyz, frame 1 fixes most." in printed


def test_structures_are_the_training_set_without_another(run, files):
    status, printed, _ = run("mapping", "none", files / "slabs.xyz", files / "other.xyz")
    assert status == 0
    assert "determine the offsets of all 2 classes" in printed
    assert printed.rstrip().endswith("STRUCTURES are taken as the training set")
    assert f"not an invariant point: {files}/slabs.xyz, frame 0: its 32 atoms are" in printed


def test_a_model(run, files):
    status, printed, _ = run("mapping", "shipped:si", files / "points.xyz", "--training", files / "slabs.xyz")
    assert status == 0
    assert "Atomic energies are right at 2 invariant points" in printed
    assert "Fd-3m" in printed
    assert "leave 1 combination" in printed
    assert "an invariant point may be one of them" in run("mapping", "shipped:si", files / "points.xyz")[1]


def test_json(run, files):
    options = ["--training", files / "slabs.xyz", "--candidates", files / "other.xyz", "--json"]
    facts = json.loads(run("mapping", "shipped:si", files / "points.xyz", *options)[1])
    assert [point["formula"] for point in facts["points"]] == ["Si", "Si"]
    assert abs(facts["largest_error"]) < 1e-6
    assert facts["ad_hoc"] is False
    assert facts["undetermined"][0]["coefficients"]["Si with 2 neighbours"] == 1.0
    assert facts["candidates"][0]["name"].endswith("other.xyz, frame 1")


def test_units(run, files):
    facts = json.loads(run("mapping", "shipped:si", files / "hartree.xyz", "--units", "Hartree", "--json")[1])
    assert abs(facts["largest_error"]) < 1e-6
    status, printed, _ = run("mapping", "shipped:si", files / "hartree.xyz")
    assert status == 0
    assert "Ad hoc mapping" in printed


def test_the_training_file_of_a_model(run, tmp_path):
    frames = []
    for item in [*training_frames(6), labelled(crystal())]:
        atoms = Atoms(item.frame.numbers, item.frame.positions, cell=item.frame.cell, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=item.energy, forces=item.forces)
        frames.append(atoms)
    write(tmp_path / "train.xyz", frames[:6], format="extxyz")
    write(tmp_path / "points.xyz", frames[6:], format="extxyz")
    text = '[data]\nfiles = "train.xyz"\nvalidation = 0.3\n[model]\nkind = "linear"\ncutoff = 5.0\n[loss]\nvirial = 0\n'
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(text if name == "a" else text.replace("0.3", "0.2"))
        assert run("train", tmp_path / f"{name}.toml", "--quiet")[0] == 0
    model = tmp_path / "a-model" / "model.safetensors"
    own = run("mapping", model, tmp_path / "points.xyz", "--training", tmp_path / "a.toml")[1]
    assert own.rstrip().endswith("the training frames are those that the model file records")
    assert "'Ar with 6 Kr neighbours', −1 on 'Kr with 6 Ar neighbours'; an offset per element" in own
    other = run("mapping", model, tmp_path / "points.xyz", "--training", tmp_path / "b.toml")[1]
    assert other.rstrip().endswith("the training frames are not those that the model file records")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "nothing.xyz"], "nothing.xyz: file not found"),
        (["none", "text.xyz"], "ASE cannot read"),
        (["nothing", "points.xyz"], "no model file nothing"),
        (["shipped:ar", "points.xyz"], "not Si"),
        (["none", "points.xyz", "--units", "cal"], "unit 'cal' of energy is not known"),
        (["none", "points.xyz", "--tolerance", "0"], "tolerance of symmetry"),
        (["none", "points.xyz", "--limit", "-1"], "limit of errors"),
        (["shipped:si", "points.xyz", "--candidates", "other.xyz"], "give the training set"),
        (["none", "points.xyz", "--training", "nothing.toml"], "nothing.toml"),
    ],
)
def test_what_is_not_usable_is_one_line(run, files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    status, printed, said = run("mapping", *arguments)
    assert status == 2
    assert message in said
    assert said.count("\n") == 1
    assert not printed
