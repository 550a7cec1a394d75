"""Naive float64 loops, written from the definitions; what every fast path is compared with."""

from __future__ import annotations

import itertools

import numpy as np


def pair_flux(receivers, senders, r_ij, g_ij, velocities, groups, n_groups):
    flux = np.zeros((n_groups, n_groups, 3))
    for edge, (i, j) in enumerate(zip(receivers, senders, strict=True)):
        power = sum(float(g_ij[edge, b]) * float(velocities[j, b]) for b in range(3))
        for a in range(3):
            flux[groups[i], groups[j], a] -= float(r_ij[edge, a]) * power
    return flux


def atomic_virial(senders, r_ij, g_ij, n_atoms):
    virial = np.zeros((n_atoms, 3, 3))
    for edge, j in enumerate(senders):
        for a, b in itertools.product(range(3), repeat=2):
            virial[j, a, b] -= float(r_ij[edge, a]) * float(g_ij[edge, b])
    return virial


def virial_flux(virial, velocities, groups, n_groups):
    flux = np.zeros((n_groups, 3))
    for j, group in enumerate(groups):
        for a, b in itertools.product(range(3), repeat=2):
            flux[group, a] += float(virial[j, a, b]) * float(velocities[j, b])
    return flux


def convection(velocities, masses, energies, groups, mass_velocity2, n_groups):
    kinetic, convective, velocity = np.zeros((3, n_groups, 3))
    for i, group in enumerate(groups):
        v = [float(x) for x in velocities[i]]
        energy = 0.5 * mass_velocity2 * float(masses[i]) * sum(x * x for x in v)
        for a in range(3):
            kinetic[group, a] += energy * v[a]
            convective[group, a] += float(energies[i]) * v[a]
            velocity[group, a] += v[a]
    return kinetic, convective, velocity


def edges_within(positions, cell, cutoff, n_images):
    """All directed edges up to the cutoff as sorted tuples (receiver, sender, shift, r), over ± n_images cells."""
    edges = []
    span = range(-n_images, n_images + 1)
    for i, j, shift in itertools.product(
        range(len(positions)), range(len(positions)), itertools.product(span, repeat=3)
    ):
        r = positions[j] + np.array(shift) @ cell - positions[i]
        if (i != j or any(shift)) and r @ r <= cutoff**2:
            edges.append((i, j, shift, r))
    return edges
