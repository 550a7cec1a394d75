"""Net power between pairs of atoms, from the pair forces that LAMMPS lists."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from tests.lammps_helper import lammps_instance
from tests.md.lammps_systems import argon, crystal, frame_of, lj_cut


@pytest.fixture(scope="module")
def hot(tmp_path_factory):
    """A hot crystal after some steps: the frame, and LAMMPS' pairs (m, 2) of atoms with their forces (m, 3) eV/Å."""
    with lammps_instance() as lmp:
        crystal(lmp, n=4)
        lj_cut(lmp)
        lmp.commands_string("fix move all nve\ncompute ends all property/local patom1 patom2 cutoff type")
        lmp.commands_string("compute force all pair/local fx fy fz")
        # A dump makes LAMMPS compute both at the last step.
        lmp.command(f"dump all all local 20 {tmp_path_factory.mktemp('dump') / 'pairs'} c_ends[1] c_force[1]")
        lmp.command("run 20")
        ends = lmp.numpy.extract_compute("ends", 2, 2).astype(int)
        forces = lmp.numpy.extract_compute("force", 2, 2).copy()
        return frame_of(lmp, "Ar"), ends - 1, forces


def test_net_power_is_that_of_lammps_pair_forces(hot):
    """What j gains from i is half the work of the force on it, at the sum of both velocities."""
    frame, ends, forces = hot
    currents = fluxan.edge_currents(frame, argon())
    i, j = ends.T
    power = np.einsum("pa,pa->p", forces, frame.velocities[i] + frame.velocities[j]) / 2
    n = frame.n_atoms
    theirs, ours = np.zeros((n, n)), np.zeros((n, n))
    # LAMMPS lists the force on the first atom of each pair, which it gains from the second.
    np.add.at(theirs, (j, i), power)
    np.add.at(theirs, (i, j), -power)
    np.add.at(ours, (currents.receivers, currents.senders), currents.net)
    assert np.abs(theirs).max() > 0.01
    np.testing.assert_allclose(ours, theirs, atol=1e-9 * np.abs(theirs).max())
    np.testing.assert_allclose(ours, -ours.T, atol=1e-12 * np.abs(theirs).max())
