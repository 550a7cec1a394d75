"""Frames keep what they were made of, whoever writes to the arrays afterwards."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet

import fluxan
from fluxan.md.ase import FluxanCalculator, FluxRecorder, frame_of_atoms
from fluxan.trajectory import as_trajectory

FIELDS = ("positions", "velocities", "cell", "numbers", "masses")


def arrays():
    rng = np.random.default_rng(0)
    return {
        "positions": rng.random((4, 3)),
        "velocities": rng.random((4, 3)),
        "cell": 5 * np.eye(3),
        "numbers": np.array([18, 18, 36, 36]),
        "masses": np.array([40.0, 40.0, 84.0, 84.0]),
    }


def as_views(given):
    return {name: array[...] for name, array in given.items()}


def as_read_only_views(given):
    views = as_views(given)
    for view in views.values():
        view.setflags(write=False)
    return views


@pytest.mark.parametrize("how", [dict, as_views, as_read_only_views])
@pytest.mark.parametrize("field", FIELDS)
def test_a_frame_is_independent_of_later_writes(field, how):
    given = arrays()
    frame = fluxan.Frame(**how(given))
    before = getattr(frame, field).copy()
    given[field][:] = 1
    np.testing.assert_array_equal(getattr(frame, field), before)


@pytest.mark.parametrize("field", FIELDS)
def test_arrays_of_a_frame_are_read_only(field):
    frame = fluxan.Frame(**arrays())
    with pytest.raises(ValueError, match="read-only"):
        getattr(frame, field)[0] = 1


def test_frames_share_read_only_arrays():
    frame = fluxan.Frame(**arrays())
    later = frame.replace(positions=frame.positions + 1.0, time=1.0)
    assert all(getattr(later, name) is getattr(frame, name) for name in FIELDS if name != "positions")
    again = pickle.loads(pickle.dumps(frame))  # noqa: S301
    np.testing.assert_array_equal(again.positions, frame.positions)


def argon():
    atoms = Atoms("Ar8", positions=3.8 * np.indices((2, 2, 2)).reshape(3, -1).T, cell=[7.6] * 3, pbc=True)
    atoms.set_momenta(np.random.default_rng(1).normal(size=(8, 3)))
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.01, rc=3.8 * 1.5)
    return atoms


def test_frames_collected_during_dynamics_differ():
    atoms, frames = argon(), []
    dynamics = VelocityVerlet(atoms, timestep=5 * units.fs)
    dynamics.attach(lambda: frames.append(frame_of_atoms(atoms)))
    dynamics.attach(
        lambda: frames.append(fluxan.Frame(atoms.positions, atoms.get_velocities(), atoms.cell.array, atoms.numbers))
    )
    dynamics.run(3)
    assert len({frame.positions.tobytes() for frame in frames}) == 4
    assert not np.array_equal(frames[0].velocities, frames[-1].velocities)


def test_a_generator_may_give_the_same_atoms_again():
    atoms = argon()
    atoms.calc = FluxanCalculator("shipped:ar")

    def moving():
        for _ in range(3):
            atoms.positions += 0.05
            atoms.set_momenta(atoms.get_momenta() * 1.1)
            yield atoms

    found = list(as_trajectory(moving()))
    assert len({frame.positions.tobytes() for frame in found}) == 3
    atoms.set_momenta(np.ones((8, 3)))
    dataset = fluxan.decompose(moving(), progress=False)  # the calculator of the first is the model
    assert np.diff(dataset["temperature"]).min() > 0


def test_a_recorder_copies_the_atoms():
    atoms = argon()
    atoms.calc = FluxanCalculator("shipped:ar")
    recorder = FluxRecorder(atoms, time_step=0.005)
    dynamics = VelocityVerlet(atoms, timestep=5 * units.fs)
    dynamics.attach(recorder)
    dynamics.run(4)
    temperatures = recorder.dataset()["temperature"].values
    assert len(np.unique(temperatures)) == 5
