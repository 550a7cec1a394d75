"""Invariant points: crystals are found, slabs and thermal frames are not; what a model gives at them."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, diamond100, graphene

import fluxan
from fluxan.errors import InputError
from fluxan.system import Frame
from fluxan.training.invariant_monitor import BIAS, RMSE, InvariantMonitor
from fluxan.training.invariant_points import KnownStructures, evaluate_point, find_symmetry, neighbour_shells
from fluxan.trajectory.labelled_frame import LabelledFrame
from tests.training_frames import crystal, linear_model

CRYSTALS = {
    "fcc": bulk("Ar", "fcc", a=5.3) * (2, 1, 1),
    "diamond": bulk("Si", "diamond", a=5.431, cubic=True),
    "strained diamond": bulk("Si", "diamond", a=5.431),
    "wurtzite": bulk("AgI", "wurtzite", a=4.59, c=7.5),
    "rock salt": bulk("NaCl", "rocksalt", a=5.6) * (2, 2, 2),
    "graphene": graphene(vacuum=10.0),
}
CRYSTALS["strained diamond"].set_cell(CRYSTALS["strained diamond"].cell * [1.03, 0.98, 1.01], scale_atoms=True)


def frame_of(atoms):
    return Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers, pbc=tuple(atoms.pbc))


def rattled(atoms, size):
    copy = atoms * (2, 2, 2)
    copy.rattle(size, seed=3)
    return frame_of(copy)


@pytest.mark.parametrize("name", CRYSTALS)
def test_crystals_are_invariant_points(name):
    symmetry = find_symmetry(frame_of(CRYSTALS[name]))
    assert symmetry.is_exact
    assert symmetry.orbits == len(np.unique(CRYSTALS[name].numbers))
    assert symmetry.space_group


def test_slabs_are_none():
    slab = diamond100("Si", size=(1, 1, 6), vacuum=8.0)
    slab.pbc = (True, True, False)
    symmetry = find_symmetry(frame_of(slab))
    assert not symmetry.is_exact
    assert symmetry.reason == "its 6 atoms are 3 sets of equivalent ones, not one for each of 1 element(s)"
    assert symmetry.tolerance is None


@pytest.mark.parametrize("name", ["fcc", "diamond", "wurtzite", "rock salt"])
def test_thermal_frames_are_none_and_nearly_symmetric_ones_are_said_to_be(name):
    assert "sets of equivalent ones" in find_symmetry(rattled(CRYSTALS[name], 0.1)).reason
    near = find_symmetry(rattled(CRYSTALS[name], 0.003))
    assert near.reason.startswith("it is symmetric within 0.0")
    assert near.reason.endswith("approximately but not within 0.001 Å")
    assert find_symmetry(rattled(CRYSTALS[name], 0.003), tolerance=0.1).is_exact


def test_clusters_and_tolerances():
    assert "no cell" in find_symmetry(Frame(np.eye(3), None, None, [14] * 3)).reason
    with pytest.raises(InputError, match="positive"):
        find_symmetry(frame_of(CRYSTALS["fcc"]), tolerance=0.0)


def test_an_element_has_energy_per_atom():
    model = fluxan.load_model("shipped:si")
    frame = frame_of(CRYSTALS["diamond"])
    point = evaluate_point(model, LabelledFrame(frame, -4.0 * 8), name="x", space_group="Fd-3m")
    assert (point.formula, point.n_atoms) == ("Si", 1)
    assert point.reference == pytest.approx(-4.0)
    assert point.error == pytest.approx(-4.3363 + 4.0, abs=1e-3)
    assert point.energies["Si"] == pytest.approx(-4.3363, abs=1e-3)
    assert point.spread < 1e-12


def test_a_compound_has_the_energy_of_a_formula_unit():
    frame = frame_of(CRYSTALS["wurtzite"])
    point = evaluate_point(fluxan.load_model("shipped:agi"), LabelledFrame(frame, -5.0), name="x")
    assert (point.formula, point.n_atoms) == ("AgI", 2)
    assert point.reference == pytest.approx(-2.5)
    assert sum(point.energies.values()) == pytest.approx(point.predicted)
    without = evaluate_point(None, LabelledFrame(frame), name="x")
    assert (without.reference, without.predicted, without.error) == (None, None, None)


def test_known_structures_are_recognised_in_other_cells():
    known = KnownStructures([LabelledFrame(frame_of(CRYSTALS["diamond"])), LabelledFrame(crystal(noise=0.1))])
    turned = bulk("Si", "diamond", a=5.431) * (3, 1, 1)
    turned.rotate(20, "x", rotate_cell=True)
    assert frame_of(turned) in known
    assert frame_of(CRYSTALS["strained diamond"]) not in known
    assert crystal() not in known
    assert frame_of(bulk("Si", "diamond", a=5.45)) not in known
    assert frame_of(bulk("Ge", "diamond", a=5.431)) not in known


def test_neighbour_shells():
    shells = neighbour_shells(frame_of(CRYSTALS["rock salt"]))
    np.testing.assert_allclose(shells[11, 17][:6], 2.8)
    np.testing.assert_allclose(shells[17, 17][:12], 2.8 * 2**0.5)


def test_the_monitor_gives_errors_per_atom():
    model = linear_model()
    frames = [crystal(), crystal(n_cells=2, strain=0.01 * np.eye(3))]
    energies = [float(evaluate_point(model, LabelledFrame(f), name="").predicted * f.n_atoms / 2) for f in frames]
    shifts = (0.1, -0.3)
    labelled = {
        str(k): LabelledFrame(f, e - shift * f.n_atoms)
        for k, (f, e, shift) in enumerate(zip(frames, energies, shifts, strict=True))
    }
    found = InvariantMonitor(labelled)(model)
    assert found[RMSE] == pytest.approx(0.05**0.5)
    assert found[BIAS] == pytest.approx(-0.1)
    assert InvariantMonitor(labelled)(linear_model().float())[RMSE] == pytest.approx(0.05**0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        ({}, "no invariant points"),
        (
            {"a.xyz, frame 0": LabelledFrame(crystal(noise=0.1), 1.0)},
            "a.xyz, frame 0 is no invariant point: its 8 atoms",
        ),
        ({"b": LabelledFrame(crystal())}, "b is no invariant point: it has no energy"),
    ],
)
def test_what_cannot_be_monitored(structures, message):
    with pytest.raises(InputError, match=message):
        InvariantMonitor(structures)
