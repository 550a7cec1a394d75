"""Hops of a vacancy in molecular dynamics of argon, against the mean positions of atoms before and after."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from fluxan.active.lattice_sites import LatticeSites
from fluxan.active.site_tracker import track_events
from fluxan.system import Frame
from fluxan.units import BOLTZMANN, MASS_VELOCITY2

IDEAL = bulk("Ar", a=5.4, cubic=True).repeat(3)
LATTICE = LatticeSites(IDEAL.positions, IDEAL.cell.array)
LENGTH, DISTANCE, STEP = 16.2, 5.4 / np.sqrt(2), 0.008
FIRST, SECOND = np.triu_indices(107, 1)


def evaluate(positions):
    """Forces, eV/Å, and energies of the atoms, eV, of a Lennard-Jones crystal with the site 0 empty."""
    r = np.ascontiguousarray(positions.T)
    r = r[:, FIRST] - r[:, SECOND]
    r -= LENGTH * np.rint(r / LENGTH)
    r2 = (r * r).sum(axis=0)
    s2 = np.where(r2 < 64.0, 3.4**2 / r2, 0)
    s6 = s2 * s2 * s2
    pairs = 24 * 0.0104 * (2 * s6**2 - s6) / r2 * r
    half = 2 * 0.0104 * (s6**2 - s6)
    forces = [np.bincount(FIRST, f, 107) - np.bincount(SECOND, f, 107) for f in pairs]
    return np.transpose(forces), np.bincount(FIRST, half, 107) + np.bincount(SECOND, half, 107)


def dynamics(temperature, n_steps, *, seed, kick=None):
    """Unwrapped positions and energies of every third step by velocity Verlet; a kick adds a velocity to one atom."""
    rng, mass = np.random.default_rng(seed), 39.95 * MASS_VELOCITY2
    positions = IDEAL.positions[1:].copy()
    velocities = rng.normal(size=positions.shape) * np.sqrt(2 * temperature * BOLTZMANN / mass)
    velocities -= velocities.mean(axis=0)
    if kick is not None:
        velocities[kick[0]] += kick[1]
    forces, energies = evaluate(positions)
    for step in range(n_steps):
        velocities += 0.5 * STEP * forces / mass
        positions += STEP * velocities
        forces, energies = evaluate(positions)
        velocities += 0.5 * STEP * forces / mass
        if step % 3 == 0:
            yield step * STEP, positions.copy(), energies


def events_and_net_moves(frames):
    """Events of wrapped frames, and {atom: (site before, site after)} by means over 1 ps at both ends."""
    cell, numbers = IDEAL.cell.array, np.full(107, 18)
    wrapped = [Frame(x % LENGTH, None, cell, numbers, time=t) for t, x, _ in frames]
    found = track_events(wrapped, LATTICE, [e for *_, e in frames])
    positions = np.array([x for _, x, _ in frames])
    positions -= (positions - positions[0]).mean(axis=1, keepdims=True)
    ends = []
    for mean in (positions[:42].mean(axis=0), positions[-42:].mean(axis=0)):
        vectors = mean[:, None] - IDEAL.positions[None]
        vectors -= LENGTH * np.rint(vectors / LENGTH)
        ends.append(np.linalg.norm(vectors, axis=2).argmin(axis=1))
    return found, {int(a): (int(ends[0][a]), int(ends[1][a])) for a in np.flatnonzero(ends[0] != ends[1])}


def test_a_hop_at_high_temperature():
    found, moved = events_and_net_moves(list(dynamics(120, 950, seed=1)))
    (event,) = found
    assert moved == dict(zip(event.atoms, event.sites, strict=True)) == {74: (75, 0)}
    assert event.kind == "hop"
    assert event.displacement == pytest.approx(DISTANCE)
    assert (found.vacancies, found.interstitials, found.unfinished) == ((1, 1), (0, 0), ())
    # The atom climbs over a barrier that is some tenths of its binding energy.
    assert 0.01 < event.barrier < 0.2


def test_an_atom_that_lingers_beside_the_vacancy_is_no_defect():
    # A kick toward the vacancy by 0.15 eV takes the atom there in 1.5 ps, most of which it spends in between.
    atom = int(np.argmin(np.abs(np.linalg.norm(LATTICE.minimum_image(IDEAL.positions[1:]), axis=1) - DISTANCE)))
    direction = -LATTICE.minimum_image(IDEAL.positions[atom + 1])[0] / DISTANCE
    kick = (atom, direction * np.sqrt(2 * 0.15 / (39.95 * MASS_VELOCITY2)))
    found, _ = events_and_net_moves(list(dynamics(80, 500, seed=0, kick=kick)))
    (event,) = found
    assert (event.kind, event.atoms, event.sites) == ("hop", (atom,), ((atom + 1, 0),))
    assert 0.5 < event.duration < 2
    assert (found.vacancies, found.interstitials) == ((1, 1), (0, 0))
