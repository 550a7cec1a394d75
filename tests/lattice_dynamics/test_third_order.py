"""Third-order force constants against derivatives of a pair potential, and differences of the second order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fluxan.active.phonon_modes import model_force_constants
from fluxan.lattice_dynamics.ideal_supercell import repeated
from fluxan.lattice_dynamics.third_order import third_order_force_constants
from tests.lattice_dynamics.crystals import AR, ARGON, EPSILON, SI, SIGMA, SILICON


def third_derivative(r):
    """∂³φ/∂r_a∂r_b∂r_c of the Lennard-Jones potential, (3, 3, 3), with the operator D = (1/r) d/dr."""
    distance = np.linalg.norm(r)
    # D of r^-n is −n r^-(n+2).
    twice, thrice = (
        sum(
            4 * EPSILON * sign * SIGMA**n * np.prod([-(n + 2 * k) for k in range(order)]) * distance ** -(n + 2 * order)
            for sign, n in ((1, 12), (-1, 6))
        )
        for order in (2, 3)
    )
    unit = np.eye(3)
    mixed = np.einsum("ab,c->abc", unit, r) + np.einsum("ac,b->abc", unit, r) + np.einsum("bc,a->abc", unit, r)
    return thrice * np.einsum("a,b,c->abc", r, r, r) + twice * mixed


def closed_form(supercell, cutoff):
    """Third derivatives with the first one to atom 0, (3, n, 3, n, 3), as sums over images of pairs."""
    frame = supercell.frame
    found = np.zeros((3, frame.n_atoms, 3, frame.n_atoms, 3))
    for shift in itertools.product(range(-2, 3), repeat=3):
        for j in range(frame.n_atoms):
            r = frame.positions[j] + np.array(shift) @ frame.cell - frame.positions[0]
            if j == 0 or np.linalg.norm(r) > cutoff:  # an atom and its own images move together
                continue
            tensor = third_derivative(r)
            # The pair's energy depends on r_j − r_0: one sign for each derivative to atom 0.
            found[:, j, :, j] -= tensor
            found[:, 0, :, j] += tensor
            found[:, j, :, 0] += tensor
            found[:, 0, :, 0] -= tensor
    return found


def test_argon_is_the_closed_form():
    supercell = repeated(AR, (3, 3, 3))
    found = third_order_force_constants(supercell, ARGON, displacement=1e-3)[0]
    expected = closed_form(supercell, ARGON.cutoff)
    # Displacements of 1e-3 Å leave terms of h² φ⁗'/φ‴ ≈ 4e-6 of the largest.
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.fixture(scope="module")
def silicon():
    """Supercell and force constants; its three-body term makes blocks of three different atoms."""
    supercell = repeated(SI, (2, 2, 1))
    return supercell, third_order_force_constants(supercell, SILICON, displacement=0.01)


def test_silicon_is_the_difference_of_second_order(silicon):
    supercell, found = silicon
    frame, h = supercell.frame, 2e-3
    for atom, axis in ((0, 1), (1, 2)):
        step = np.zeros_like(frame.positions)
        step[atom, axis] = h
        plus, minus = (
            model_force_constants(frame.replace(positions=frame.positions + sign * step), SILICON, displacement=h)
            for sign in (1, -1)
        )
        expected = ((plus - minus) / (2 * h)).transpose(0, 2, 1, 3)
        # Displacements of 0.01 Å leave terms of 1e-4 of the largest.
        assert np.abs(found[atom, axis] - expected).max() < 2e-4 * np.abs(expected).max()
        others = [k for k in range(frame.n_atoms) if k != atom]
        assert max(np.abs(expected[j, :, k]).max() for j, k in itertools.combinations(others, 2)) > 1


def test_symmetry_and_sum_rules(silicon):
    _, found = silicon
    largest = np.abs(found).max()
    assert np.abs(found - found.transpose(0, 1, 4, 5, 2, 3)).max() < 1e-13 * largest
    assert np.abs(found.sum(axis=2)).max() < 1e-12 * largest
    assert np.abs(found.sum(axis=4)).max() < 1e-12 * largest
    # The atoms of the primitive cell are interchangeable too, which nothing here imposes.
    pair = found[:, :, :2]
    assert np.abs(pair - pair.transpose(2, 3, 0, 1, 4, 5)).max() < 2e-4 * largest
