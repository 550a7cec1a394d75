"""Defects of a triangular lattice (`triangular_lattice_model`): vacancies in periodic cells, a dislocation in a disc.

The error of a model is compared in the discrete energy norm, over ordered pairs of nearest neighbours, as by
`fluxan.generalization.displacement_field.Stencil`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import splu
from scipy.spatial import Delaunay, cKDTree
from triangular_lattice_model import (
    CURVATURE,
    CUTOFF,
    LATTICE,
    OFFSETS,
    SHELLS,
    VECTORS,
    Bonds,
    Crystal,
    Dial,
    Springs,
    elastic_constants,
    relax,
    spring_forces,
)

#: Distances in lattice constants that separate the shells of the perfect lattice, half way between them.
BOUNDS = [0.5 * (a + b) for a, b in ((1, 3**0.5), (3**0.5, 2), (2, 7**0.5))]
#: Pairs that the list of the disc has beyond the cutoff; width of its rim that is held.
SKIN, RIM = 0.35, 2 * CUTOFF + 0.5


class PointDefect(NamedTuple):
    """A defect: its crystal, distances of sites in lattice constants, pairs of neighbours and their bonds."""

    crystal: Crystal
    distance: np.ndarray
    neighbours: np.ndarray
    bonds: Bonds


def periodic_bonds(n, offsets, removed=(), stretch=0.0):
    """Bonds of all sites of n × n periodic cells in the given directions, without those of removed sites."""
    i, j = np.divmod(np.arange(n * n), n)
    first = np.tile(np.arange(n * n), len(offsets))
    second = np.concatenate([(i + p) % n * n + (j + q) % n for p, q in offsets])
    rest = np.repeat(LATTICE * (1 + stretch) * (np.array(offsets) @ VECTORS), n * n, axis=0)
    kept = ~(np.isin(first, removed) | np.isin(second, removed))
    # Bonds in the order of their first site: twice as fast, for the displacements stay in the processor's cache.
    order = np.argsort(first[kept], kind="stable")
    return Bonds(*(x[kept][order] for x in (first.astype(np.int32), second.astype(np.int32), rest)))


def lattice_distance(n, centre):
    """Least distance of all sites from a point in lattice coordinates, over its periodic images, lattice constants."""
    sites = np.stack(np.divmod(np.arange(n * n), n), axis=1) - np.asarray(centre, dtype=float)
    sites -= n * np.round(sites / n)
    images = [np.linalg.norm((sites + n * np.array([p, q])) @ VECTORS, axis=1) for p in (-1, 0, 1) for q in (-1, 0, 1)]
    return np.min(images, axis=0)


def point_defect(n, kind, stretch=0.0):
    """A vacancy or divacancy in n × n periodic cells, which are stretched by a small number."""
    sites, middle = [n // 2 * (n + 1)], [n // 2, n // 2]
    if kind == "divacancy":
        sites, middle = [sites[0], sites[0] + n], [n // 2 + 0.5, n // 2]
    free = np.ones(n * n)
    free[sites] = 0.0
    pairs = periodic_bonds(n, SHELLS[0], sites, stretch)
    return PointDefect(
        Crystal(periodic_bonds(n, OFFSETS, sites, stretch), free, floating=True),
        lattice_distance(n, middle),
        np.stack([pairs.first, pairs.second], axis=1),
        pairs,
    )


def relaxed_defect(n, kind, response):
    """A point defect, relaxed in a cell that is stretched so that the crystal far away is not dilated.

    In a cell of the perfect lattice the images of a defect dilate the crystal between them by a strain of order n^−2.
    In an infinite crystal its field has no dilation; cubic terms, which are small there, would be hidden.
    """
    stretch, u = 0.0, np.zeros((n * n, 2))
    for _ in range(3):
        site = point_defect(n, kind, stretch)
        u, record = relax(site.crystal, u, response)
        stretch -= dilation(site, u)
    return site, u, record | {"stretch": stretch, "dilation": dilation(site, u)}


def dilation(site, u):
    """Mean elongation of the bonds of nearest neighbours far from a defect."""
    bonds = site.bonds
    far = site.distance[bonds.first] > 0.7 * site.distance.max()
    r = np.linalg.norm(bonds.rest + u[bonds.second] - u[bonds.first], axis=1)[far]
    return float((r / LATTICE - 1).mean())


def outer_springs(site, length, dial, smooth=False):
    """Springs of a model that is exact within `length` lattice constants of a defect.

    Each bond counts with the mean of the weights of its sites: 0 within and 1 beyond, with a step, or with a smooth
    function between 3/4 and 5/4 of the length.
    """
    ramp = np.clip((site.distance / length - 0.75) / 0.5, 0, 1)
    weight = ramp**3 * (10 - 15 * ramp + 6 * ramp**2) if smooth else (site.distance > length).astype(float)
    bonds = site.bonds
    mean = 0.5 * (weight[bonds.first] + weight[bonds.second])
    bonds, mean = Bonds(*(x[mean > 0] for x in bonds)), mean[mean > 0]
    return Springs(*bonds, np.full(len(mean), LATTICE), dial.quadratic[0] * mean, dial.cubic * mean, 0.0)


def norm(neighbours, field):
    """Discrete energy norm of displacements (n_sites, 2) over pairs of neighbours in both orders."""
    steps = field[neighbours[:, 1]] - field[neighbours[:, 0]]
    return float(np.sqrt(2 * (steps**2).sum()))


def energy_difference(model, u_reference, u_model):
    """Energy of the relaxed model over that of the relaxed reference, without a difference of large numbers.

    The energy of the perturbation at the reference's minimum, less the work of the model's forces from there to its own
    minimum, by Gauss' quadrature with four points (the forces there are nearly linear in the displacement).
    """
    forces, change = np.zeros(u_reference.shape), u_model - u_reference
    energy = spring_forces(model.springs, u_reference, forces)
    for point, weight in zip(*np.polynomial.legendre.leggauss(4), strict=True):
        between = model.energy_and_forces(u_reference + 0.5 * (1 + point) * change)[1]
        energy -= 0.5 * weight * (between * change).sum()
    return float(energy)


def decay(site, field, n_shells=24):
    """Distances of shells, lattice constants, and root mean squares of |Du| in them."""
    squares = ((field[site.neighbours[:, 1]] - field[site.neighbours[:, 0]]) ** 2).sum(axis=1)
    strains = np.bincount(site.neighbours.T.ravel(), np.tile(squares, 2), minlength=len(field))
    there = site.distance > 0.9
    edges = np.geomspace(1.0, site.distance.max(), n_shells + 1)
    shell = np.digitize(site.distance[there], edges)
    count = np.bincount(shell)
    kept = count > 0
    mean = [np.bincount(shell, x[there])[kept] / count[kept] for x in (site.distance, strains)]
    return mean[0], np.sqrt(mean[1])


def closest_stranger(crystal, u, positions):
    """Least distance over the cutoff of pairs that are not in the list of bonds, among occupied sites."""
    used = np.unique(np.concatenate([crystal.bonds.first, crystal.bonds.second]))
    moved = positions[used] + u[used]
    pairs = used[cKDTree(moved).query_pairs(1.3 * CUTOFF, output_type="ndarray")]
    pairs.sort(axis=1)
    listed = np.sort(np.stack([crystal.bonds.first, crystal.bonds.second], axis=1), axis=1)
    code = np.int64(crystal.n_sites)
    strangers = pairs[~np.isin(pairs[:, 0] * code + pairs[:, 1], listed[:, 0] * code + listed[:, 1])]
    apart = positions[strangers[:, 1]] + u[strangers[:, 1]] - positions[strangers[:, 0]] - u[strangers[:, 0]]
    return float(np.linalg.norm(apart, axis=1).min() / CUTOFF)


def edge_field(positions, poisson):
    """Displacements (n, 2) of isotropic elasticity (plane strain) around an edge dislocation with b along x."""
    x, y = positions.T
    r2 = x * x + y * y
    across = np.arctan2(y, x) + x * y / (2 * (1 - poisson) * r2)
    along = (1 - 2 * poisson) / (4 * (1 - poisson)) * np.log(r2) + (x * x - y * y) / (4 * (1 - poisson) * r2)
    return LATTICE / (2 * np.pi) * np.stack([across, -along], axis=1)


class Disc(NamedTuple):
    """A dislocation in a disc: crystal, positions of all sites before displacement, start, and sites of the disc."""

    crystal: Crystal
    positions: np.ndarray
    start: np.ndarray
    inside: np.ndarray


def disc(radius, offset=-0.25, push=0.0):
    """Edge dislocation in a disc of a free radius, with a rim around it that is held at the field of elasticity.

    The glide plane is half way between rows. The field is that of the middle between an atom's sites before and after
    the crystal's halves have slipped by b/2 each, so that the disc has a mirror, x to −x, for an offset of ±1/4.
    Atoms near the core can be pushed along x above the glide plane at the start, which breaks the symmetry.
    """
    c11, c12, _ = elastic_constants(Dial())
    poisson, outer = c12 / (c12 + c11), radius + RIM / LATTICE
    n = 2 * int(np.ceil(outer / np.sqrt(0.75) + 2))
    cells = np.stack(np.divmod(np.arange(n * n), n), axis=1) - n // 2
    positions = LATTICE * (cells @ VECTORS + [offset, 0.5 * np.sqrt(0.75)])
    middle = positions + 0.25 * LATTICE * np.stack([np.sign(positions[:, 1]), np.zeros(n * n)], axis=1)
    distance = np.linalg.norm(middle, axis=1) / LATTICE
    inside = np.flatnonzero(distance < outer)
    start = np.zeros((n * n, 2))
    start[inside] = edge_field(middle[inside], poisson)
    start[:, 0] += push * LATTICE * np.exp(-((distance / 2) ** 2)) * (positions[:, 1] > 0)
    pairs = inside[cKDTree(positions[inside] + start[inside]).query_pairs(CUTOFF + SKIN, output_type="ndarray")]
    pairs.sort(axis=1)
    pairs = pairs[np.lexsort(pairs.T[::-1])].astype(np.int32)
    # From whole numbers of lattice vectors: bonds of one kind are equal to the last bit, at any distance.
    rest = LATTICE * ((cells[pairs[:, 1]] - cells[pairs[:, 0]]) @ VECTORS)
    bonds = Bonds(pairs[:, 0].copy(), pairs[:, 1].copy(), rest)
    return Disc(Crystal(bonds, (distance < radius).astype(float)), positions, start, inside)


class LaplaceResponse:
    """Preconditioner of a disc: inverse of springs between nearest neighbours that act on each component alike.

    The response of the periodic lattice takes hundreds of products for a rim that is held, this one some fifteen.
    """

    def __init__(self, crystal, pairs):
        """Factors the matrix of the free sites."""
        n, (i, j) = crystal.n_sites, pairs.T
        ones = np.full(len(i), CURVATURE)
        self.sites = np.flatnonzero(crystal.free)
        matrix = coo_matrix((np.concatenate([ones, ones]), (np.concatenate([i, j]), np.concatenate([j, i]))), (n, n))
        degrees = np.asarray(matrix.sum(axis=1)).ravel()
        matrix = (diags(degrees) - matrix).tocsc()[self.sites][:, self.sites]
        self.factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def __call__(self, forces):
        """Displacements (n_sites, 2) in answer to forces."""
        answer = np.zeros(forces.shape)
        answer[self.sites] = self.factors.solve(np.ascontiguousarray(forces[self.sites]))
        return answer


def shell_springs(found, u, dial, exact=0.0):
    """Springs of a disc beyond a distance from its centre; pairs belong to the shell that is nearest in length."""
    bonds = found.crystal.bonds
    r = np.linalg.norm(bonds.rest + u[bonds.second] - u[bonds.first], axis=1) / LATTICE
    shell = np.digitize(r, BOUNDS)
    outer = np.linalg.norm(found.positions + found.start, axis=1) > exact * LATTICE
    weight = 0.5 * (outer[bonds.first].astype(float) + outer[bonds.second])
    kept = (shell < 3) & (np.append(dial.quadratic, 0.0)[shell] != 0) & (weight > 0)
    if dial.embedding:
        kept = (shell == 0) & (weight == 1)
    length = LATTICE * np.sqrt([1.0, 3.0, 4.0])[shell[kept]]
    quadratic = np.array(dial.quadratic)[shell[kept]] * weight[kept]
    return Springs(*(x[kept] for x in bonds), length, quadratic, np.zeros(len(length)), dial.embedding)


def nearest_pairs(crystal, u):
    """Pairs of nearest neighbours of a structure."""
    bonds = crystal.bonds
    r = np.linalg.norm(bonds.rest + u[bonds.second] - u[bonds.first], axis=1)
    near = r < BOUNDS[0] * LATTICE
    return np.stack([bonds.first[near], bonds.second[near]], axis=1)


def core_of(found, u, reach=6.0):
    """Sites within reach whose number of Delaunay neighbours is not six, and that number."""
    moved = found.positions[found.inside] + u[found.inside]
    near = np.linalg.norm(moved, axis=1) < (reach + 3) * LATTICE
    points, index = moved[near], found.inside[near]
    starts, _ = Delaunay(points).vertex_neighbor_vertices
    count = np.diff(starts)
    odd = (count != 6) & (np.linalg.norm(points, axis=1) < reach * LATTICE)
    return [(int(i), int(c)) for i, c in zip(index[odd], count[odd], strict=True)]
