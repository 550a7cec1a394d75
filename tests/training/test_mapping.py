"""The check of the mapping as a whole: verdicts, the gauge of offsets per element, the monitor of a training."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, diamond100
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

import fluxan
from fluxan.errors import InputError, ModelError
from fluxan.neighbors import build_graph
from fluxan.report.training_figure import draw_history
from fluxan.system import Frame
from fluxan.training.batches import collate
from fluxan.training.history import read_history
from fluxan.training.invariant_monitor import BIAS, RMSE
from fluxan.training.invariant_points import atomic_energies_of
from fluxan.training.mapping import MappingSettings, atomic_energy_mapping
from fluxan.training.prediction import predict
from fluxan.training.training_config import read_training_config
from fluxan.training.training_job import load_data, train
from fluxan.trajectory.labelled_frame import LabelledFrame
from tests.training_frames import LATTICE, crystal, labelled, linear_model, training_frames

SILICON = fluxan.load_model("shipped:si")


class Shifted(fluxan.Potential):
    """Stillinger-Weber with an offset on atoms with three or fewer neighbours, and another on all others."""

    cutoff = SILICON.cutoff

    def __init__(self, few, many):
        super().__init__()
        self.offsets, self.model = (few, many), SILICON

    def forward(self, graph):
        n = graph.r_ij.new_zeros(graph.n_atoms).index_add(0, graph.receivers, (graph.r_ij.norm(dim=1) < 2.9).double())
        few, many = self.offsets
        return self.model(graph) + (n < 3.5).to(n) * few + (n >= 3.5).to(n) * many


def slab(layers, seed=0):
    atoms = diamond100("Si", size=(1, 1, layers), a=5.431, vacuum=8.0) * (2, 2, 1)
    atoms.rattle(0.03, seed=seed)
    return Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers, pbc=(True, True, False))


def diamond(strain=0.0):
    atoms = bulk("Si", "diamond", a=5.431 * (1 + strain))
    return Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers)


def energies_by(model, *frames):
    return [LabelledFrame(frame, float(atomic_energies_of(model, frame).sum())) for frame in frames]


CRYSTALS = dict(zip(("diamond", "strained"), energies_by(SILICON, diamond(), diamond(0.02)), strict=True))
ONE = energies_by(SILICON, *(slab(8, seed) for seed in range(3)))
TWO = [*ONE, *energies_by(SILICON, slab(12))]


def test_an_ad_hoc_mapping_is_right_for_the_slabs_it_saw_and_wrong_in_the_crystal():
    """8 layers have 8 atoms at surfaces and 24 inside: offsets of −0.9 and 0.3 eV cancel."""
    report = atomic_energy_mapping(Shifted(-0.9, 0.3), CRYSTALS, ONE)
    assert report.training_error < 1e-10
    assert report.largest_error == pytest.approx(0.3)
    assert report.is_ad_hoc
    first, second, third = report.verdict.splitlines()
    assert first.startswith("Ad hoc mapping: atomic energies are wrong by up to 300 meV/atom at 2 invariant points.")
    assert second == "Total energies of the training set leave 1 combination of offsets undetermined (eV per atom):"
    assert third == "  +1 on 'Si with 2 neighbours', −0.33 on 'Si with 4 neighbours'"


def test_the_reference_is_right():
    report = atomic_energy_mapping(SILICON, CRYSTALS, TWO)
    assert report.is_ad_hoc is False
    first, second = report.verdict.splitlines()
    assert first.startswith("Atomic energies are right at 2 invariant points: the largest error is 0 meV/atom.")
    assert second == "Total energies of the training set determine the offsets of all 2 classes of atoms."


def test_a_model_that_is_not_fitted_is_not_called_ad_hoc():
    report = atomic_energy_mapping(Shifted(0.3, 0.3), CRYSTALS, ONE)
    assert report.is_ad_hoc is False
    assert report.verdict.startswith("Atomic energies are wrong by up to 300 meV/atom at 2 invariant points, but so")


def test_before_training():
    candidates = {"thin": LabelledFrame(slab(8, 9)), "thick": LabelledFrame(slab(12)), "bulk": LabelledFrame(diamond())}
    report = atomic_energy_mapping(None, CRYSTALS, ONE, candidates)
    assert [one.name for one in report.candidates] == ["bulk", "thin", "thick"]
    assert report.candidates[2].alone > 0.1
    assert report.is_ad_hoc is None
    assert report.verdict.splitlines()[0] == "2 structures are invariant points."
    assert report.verdict.splitlines()[-1] == "Of the candidates, bulk fixes most."
    useless = atomic_energy_mapping(None, CRYSTALS, ONE, {"thin": candidates["thin"]})
    assert useless.verdict.endswith("No candidate fixes any of them.")


def test_points_that_were_trained_on_do_not_count():
    report = atomic_energy_mapping(Shifted(0.0, 0.3), CRYSTALS, [*ONE, CRYSTALS["diamond"]])
    assert [point.in_training for point in report.points] == [True, False]
    assert [point.name for point in report.counted] == ["strained"]
    none = atomic_energy_mapping(SILICON, {"diamond": CRYSTALS["diamond"]}, [*ONE, CRYSTALS["diamond"]])
    assert none.verdict.startswith("Not tested: no invariant point counts (all are in the training set or have no")
    slabs = atomic_energy_mapping(SILICON, {"slab": ONE[0]})
    assert slabs.verdict == "Not tested: no invariant point counts (no structure is one)."
    assert "sets of equivalent ones" in slabs.others["slab"]


def test_atoms_unlike_any_in_training_are_told_from_an_ad_hoc_mapping():
    fcc = Frame(np.zeros((1, 3)), None, 3.9 * (np.ones((3, 3)) - np.eye(3)) / 2, [14])
    report = atomic_energy_mapping(Shifted(-0.9, 0.3), {"fcc": energies_by(SILICON, fcc)[0]}, ONE)
    assert report.points[0].strangers == 1.0
    assert "the wrong ones hold atoms unlike any in training" in report.verdict


def test_bad_input():
    with pytest.raises(InputError, match="give the training set"):
        atomic_energy_mapping(SILICON, CRYSTALS, candidates=CRYSTALS)
    with pytest.raises(InputError, match="limit"):
        MappingSettings(limit=-1.0)
    with pytest.raises(InputError, match="Ar occurs in no structure"):
        atomic_energy_mapping(None, {"rock salt": LabelledFrame(crystal(), 1.0)}, ONE)
    with pytest.raises(ModelError):
        atomic_energy_mapping(SILICON, {"rock salt": LabelledFrame(crystal(), 1.0)})


def evaluated(model, frame):
    """Energy, forces and virial."""
    batch = collate([LabelledFrame(frame)], [build_graph(frame, model.cutoff)], model.elements)
    found = predict(model, batch, flux=False, training=False)
    return [part.detach().numpy() for part in (found.energies, found.forces, found.virials)]


def other_stoichiometries():
    """Fcc argon, and a cell with three argon atoms to one of krypton."""
    corners = LATTICE * np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    argon = Frame(corners, None, LATTICE * np.eye(3), [18] * 4)
    return {"argon": argon, "L1_2": Frame(corners, None, LATTICE * np.eye(3), [36, 18, 18, 18])}


def test_offsets_per_element_change_nothing_but_other_stoichiometries():
    """Σ_t N_t c_t = 0: no energy, force or virial of the fitted composition changes, but atomic energies do."""
    model, other = linear_model(), linear_model()
    other.offsets[:] += other.offsets.new_tensor([0.4, -0.4])
    for item in training_frames(2):
        for one, two in zip(evaluated(model, item.frame), evaluated(other, item.frame), strict=True):
            np.testing.assert_allclose(two, one, rtol=1e-12, atol=1e-12)
    training = energies_by(model, *(item.frame for item in training_frames(3)))
    names = ("rock salt", *other_stoichiometries())
    points = dict(zip(names, energies_by(model, crystal(), *other_stoichiometries().values()), strict=True))
    right, wrong = (atomic_energy_mapping(one, points, training) for one in (model, other))
    assert [point.error for point in right.points] == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)
    assert [point.error for point in wrong.points] == pytest.approx([0.0, 0.4, 0.2], abs=1e-12)
    assert wrong.training_error < 1e-12
    assert wrong.is_ad_hoc
    (only,) = wrong.offsets.undetermined
    # One offset for every class of argon, the opposite for every class of krypton.
    for symbol, expected in (("Ar", 1.0), ("Kr", -1.0)):
        found = [value for name, value in only.coefficients.items() if name.startswith(symbol)]
        assert found == pytest.approx([expected] * len(found))
        assert found
    assert "an offset per element, which another stoichiometry or a pure element fixes" in wrong.verdict


def write_frames(path, items):
    frames = []
    for item in items:
        atoms = Atoms(item.frame.numbers, item.frame.positions, cell=item.frame.cell, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=item.energy, forces=item.forces)
        frames.append(atoms)
    write(path, frames, format="extxyz")


CONFIG = """
[data]
files = ["train.xyz"]
validation = 0.3
[model]
kind = "behler-parrinello"
cutoff = 5.0
triplet_cutoff = 4.2
n_radial = 4
hidden = [4]
[loss]
virial = 0.0
[fit]
epochs = 3
[mapping]
structures = "points.xyz"
"""


def prepare(folder, points, config=CONFIG):
    write_frames(folder / "train.xyz", [*training_frames(6), labelled(crystal())])
    write_frames(folder / "points.xyz", points)
    (folder / "train.toml").write_text(config)
    settings = read_training_config(folder / "train.toml")
    return settings, load_data(settings.data)


def test_a_training_monitors_its_structures(tmp_path):
    settings, data = prepare(tmp_path, [labelled(crystal(strain=x * np.eye(3))) for x in (0.01, 0.02)])
    result = train(settings, data)
    rows = read_history(tmp_path / "train-model" / "history.csv")
    assert len(rows) == 3
    assert all(row[RMSE] >= abs(row[BIAS]) > 0 for row in rows)
    assert rows == result.history
    axes = draw_history(rows).axes
    assert {line.get_label() for line in axes[2].lines} == {RMSE, BIAS}


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([labelled(crystal(noise=0.1))], "points.xyz, frame 0 is no invariant point: its 8 atoms"),
        ([LabelledFrame(diamond(), -8.0)], "points.xyz, frame 0: Si occurs in no training frame"),
    ],
)
def test_structures_that_cannot_be_monitored(tmp_path, points, message):
    settings, data = prepare(tmp_path, points)
    with pytest.raises(InputError, match=message):
        train(settings, data)


def test_training_frames_are_not_monitored(tmp_path):
    config = CONFIG.replace("validation = 0.3", 'validation = ["points.xyz"]')
    settings, data = prepare(tmp_path, [labelled(crystal()), labelled(crystal(strain=0.01 * np.eye(3)))], config)
    with pytest.warns(UserWarning, match="1 of 2 structures to monitor are training frames, and are left out"):
        assert RMSE in train(settings, data).history[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('structures = "nothing.xyz"', "'nothing.xyz' names no file"),
        ('structures = "train.toml"\ntolerance = -1', "mapping.tolerance is -1"),
        ("frames = 3", "mapping.frames"),
    ],
)
def test_sections_that_are_refused(tmp_path, text, message):
    (tmp_path / "train.toml").write_text(
        CONFIG.partition("[mapping]")[0].replace("train.xyz", "train.toml") + f"[mapping]\n{text}\n"
    )
    with pytest.raises(InputError, match=message):
        read_training_config(tmp_path / "train.toml")
