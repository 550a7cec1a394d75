"""Triangular lattice of Lennard-Jones atoms in the plane: energies, forces, force constants, and Newton's method.

    python examples/triangular_lattice_model.py

Reduced units: σ = ε = 1. Atoms are numbered by the sites of a lattice of n × n cells; what interacts is a list of bonds
that is fixed before the relaxation. Newton's method reaches forces of 1e-12, where differences of energies are lost in
rounding. Its equations are solved by conjugate gradients, preconditioned with the inverse force constants of the
perfect lattice (fast Fourier transforms). Run as a program, it prints the constants of the lattice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numba as nb
import numpy as np
from scipy import fft
from scipy.optimize import brentq
from scipy.sparse.linalg import LinearOperator, cg

#: Cutoff, and the constants of the straight line that makes energy and force vanish there.
CUTOFF = 2.5
LINE_SLOPE = 4 * (-12 * CUTOFF**-13 + 6 * CUTOFF**-7)
LINE_VALUE = 4 * (CUTOFF**-12 - CUTOFF**-6) - LINE_SLOPE * CUTOFF
#: One of the two directions of every bond of the first three shells, in lattice vectors (i² + ij + j² = 1, 3, 4).
SHELLS = (((1, 0), (0, 1), (-1, 1)), ((1, 1), (2, -1), (-1, 2)), ((2, 0), (0, 2), (-2, 2)))
OFFSETS = tuple(offset for shell in SHELLS for offset in shell)
#: Lattice vectors, in lattice constants.
VECTORS = np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])


class Bonds(NamedTuple):
    """Pairs of sites (n_bonds,), and their separations in the perfect lattice (n_bonds, 2)."""

    first: np.ndarray
    second: np.ndarray
    rest: np.ndarray


class Springs(NamedTuple):
    """Perturbation ½ k s² + c s³ of bonds, s = |r| − length, and ½ g (Σ s)² of sites, whose sum is over their bonds."""

    first: np.ndarray
    second: np.ndarray
    rest: np.ndarray
    length: np.ndarray
    quadratic: np.ndarray
    cubic: np.ndarray
    embedding: float


@nb.njit(cache=True)
def pair_terms(r):
    """Energy of a pair and its first two derivatives: Lennard-Jones, minus a straight line, zero from the cutoff on."""
    if r >= CUTOFF:
        return 0.0, 0.0, 0.0
    i2 = 1.0 / (r * r)
    i6 = i2 * i2 * i2
    energy = 4.0 * i6 * (i6 - 1.0) - LINE_VALUE - LINE_SLOPE * r
    return energy, 24.0 * i6 * (1.0 - 2.0 * i6) / r - LINE_SLOPE, 24.0 * i6 * i2 * (26.0 * i6 - 7.0)


@nb.njit(cache=True)
def pair_forces(bonds, u, forces):
    """Add the forces of all pairs; return their energy."""
    total = 0.0
    for b in range(len(bonds.first)):
        i, j = bonds.first[b], bonds.second[b]
        x = bonds.rest[b, 0] + u[j, 0] - u[i, 0]
        y = bonds.rest[b, 1] + u[j, 1] - u[i, 1]
        r = np.sqrt(x * x + y * y)
        energy, slope, _ = pair_terms(r)
        total += energy
        x, y = x * slope / r, y * slope / r
        forces[i, 0] += x
        forces[i, 1] += y
        forces[j, 0] -= x
        forces[j, 1] -= y
    return total


@nb.njit(cache=True)
def spring_state(springs, u):
    """Directions (n_springs, 2), lengths and tensions of springs, and their energy with that of the sites."""
    n = len(springs.first)
    direction, r, tension, sums, total = np.empty((n, 2)), np.empty(n), np.empty(n), np.zeros(len(u)), 0.0
    for b in range(n):
        i, j = springs.first[b], springs.second[b]
        x = springs.rest[b, 0] + u[j, 0] - u[i, 0]
        y = springs.rest[b, 1] + u[j, 1] - u[i, 1]
        r[b] = np.sqrt(x * x + y * y)
        direction[b, 0], direction[b, 1] = x / r[b], y / r[b]
        s, k, c = r[b] - springs.length[b], springs.quadratic[b], springs.cubic[b]
        total += s * s * (0.5 * k + c * s)
        tension[b] = s * (k + 3.0 * c * s)
        sums[i] += s
        sums[j] += s
    if springs.embedding != 0.0:
        total += 0.5 * springs.embedding * (sums**2).sum()
        for b in range(n):
            tension[b] += springs.embedding * (sums[springs.first[b]] + sums[springs.second[b]])
    return direction, r, tension, total


@nb.njit(cache=True)
def spring_forces(springs, u, forces):
    """Add the forces of springs and sites; return their energy."""
    direction, _, tension, total = spring_state(springs, u)
    for b in range(len(tension)):
        for c in range(2):
            forces[springs.first[b], c] += tension[b] * direction[b, c]
            forces[springs.second[b], c] -= tension[b] * direction[b, c]
    return total


@nb.njit(cache=True)
def pair_stiffness(bonds, u):
    """xx, xy and yy of the second derivatives of each pair's energy, (n_bonds, 3)."""
    out = np.empty((len(bonds.first), 3))
    for b in range(len(out)):
        i, j = bonds.first[b], bonds.second[b]
        x = bonds.rest[b, 0] + u[j, 0] - u[i, 0]
        y = bonds.rest[b, 1] + u[j, 1] - u[i, 1]
        r = np.sqrt(x * x + y * y)
        _, slope, curvature = pair_terms(r)
        x, y, slope = x / r, y / r, slope / r
        out[b, 0] = curvature * x * x + slope * y * y
        out[b, 1] = (curvature - slope) * x * y
        out[b, 2] = curvature * y * y + slope * x * x
    return out


@nb.njit(cache=True)
def spring_stiffness(springs, u):
    """The same for springs, without the products of two bonds of a site; and the directions (n_springs, 2)."""
    direction, r, tension, _ = spring_state(springs, u)
    out = np.empty((len(r), 3))
    for b in range(len(r)):
        x, y, slope = direction[b, 0], direction[b, 1], tension[b] / r[b]
        curvature = springs.quadratic[b] + 6.0 * springs.cubic[b] * (r[b] - springs.length[b])
        out[b, 0] = curvature * x * x + slope * y * y
        out[b, 1] = (curvature - slope) * x * y
        out[b, 2] = curvature * y * y + slope * x * x
    return out, direction


@nb.njit(cache=True)
def multiply(bonds, stiffness, v, out):
    """Add the product of the bonds' force constants with v (n_sites, 2)."""
    for b in range(len(stiffness)):
        i, j = bonds.first[b], bonds.second[b]
        x, y = v[j, 0] - v[i, 0], v[j, 1] - v[i, 1]
        p = stiffness[b, 0] * x + stiffness[b, 1] * y
        q = stiffness[b, 1] * x + stiffness[b, 2] * y
        out[i, 0] -= p
        out[i, 1] -= q
        out[j, 0] += p
        out[j, 1] += q


@nb.njit(cache=True)
def multiply_embedding(springs, direction, v, out):
    """Add the products of two bonds of each site, g Σ_i ∇S_i (∇S_i · v) with S_i the sum of its elongations."""
    sums = np.zeros(len(v))
    for b in range(len(direction)):
        i, j = springs.first[b], springs.second[b]
        change = direction[b, 0] * (v[j, 0] - v[i, 0]) + direction[b, 1] * (v[j, 1] - v[i, 1])
        sums[i] += change
        sums[j] += change
    for b in range(len(direction)):
        i, j = springs.first[b], springs.second[b]
        tension = springs.embedding * (sums[i] + sums[j])
        for c in range(2):
            out[i, c] -= tension * direction[b, c]
            out[j, c] += tension * direction[b, c]


@dataclass(frozen=True)
class Dial:
    """Perturbation of a model: ½ k s² by shell, c s³ of nearest neighbours, ½ g (Σ s)² of sites."""

    quadratic: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cubic: float = 0.0
    embedding: float = 0.0

    def site_energy(self, deformation, lattice_constant):
        """Energy per site of the lattice under a homogeneous deformation (2, 2), with the pair potential."""
        energy, elongation = 0.0, 0.0
        for shell, offsets in enumerate(SHELLS):
            for offset in offsets:
                rest = lattice_constant * (np.array(offset) @ VECTORS)
                r = np.linalg.norm(deformation @ rest)
                s = r - np.linalg.norm(rest)
                energy += pair_terms(r)[0] + 0.5 * self.quadratic[shell] * s * s
                if shell == 0:
                    energy, elongation = energy + self.cubic * s**3, elongation + 2 * s
        return energy + 0.5 * self.embedding * elongation**2


def lattice_constant_at_rest():
    """Lattice constant of lowest energy."""
    lengths = [np.linalg.norm(np.array(shell[0]) @ VECTORS) for shell in SHELLS]
    return float(brentq(lambda a: sum(m * pair_terms(m * a)[1] for m in lengths), 1.0, 1.2, xtol=1e-15, rtol=1e-15))


#: Lattice constant; second and third derivative of the pair potential there.
LATTICE = lattice_constant_at_rest()
CURVATURE = pair_terms(LATTICE)[2]
THIRD = -24 * (26 * 14 * LATTICE**-15 - 7 * 8 * LATTICE**-9)


def elastic_constants(dial, step=2e-3):
    """C11, C12 and C66 by finite differences of fourth order of the energy per area."""
    area = LATTICE**2 * np.sqrt(0.75)
    one, two, shear = np.diag([1.0, 0.0]), np.diag([0.0, 1.0]), np.array([[0.0, 0.5], [0.5, 0.0]])

    def second(strain):
        values = [dial.site_energy(np.eye(2) + m * step * strain, LATTICE) for m in (-2, -1, 0, 1, 2)]
        return float(np.dot([-1, 16, -30, 16, -1], values)) / (12 * step**2 * area)

    c11, c22 = second(one), second(two)
    return c11, 0.5 * (second(one + two) - c11 - c22), second(shear)


@dataclass(frozen=True)
class Crystal:
    """Bonds among the sites of a lattice, and which of the sites may move (n_sites,); without held sites it floats."""

    bonds: Bonds
    free: np.ndarray
    springs: Springs | None = None
    floating: bool = False

    @cached_property
    def n_sites(self):
        """Number of sites, empty ones too."""
        return len(self.free)

    def energy_and_forces(self, u):
        """Energy of all bonds, and forces (n_sites, 2), zero on sites that are held."""
        forces = np.zeros((self.n_sites, 2))
        energy = pair_forces(self.bonds, u, forces)
        if self.springs is not None:
            energy += spring_forces(self.springs, u, forces)
        if self.floating:
            # Their sum is zero but for rounding, which no displacement could answer.
            forces -= forces.sum(axis=0) / self.free.sum()
        return energy, forces * self.free[:, None]

    def hessian(self, u):
        """Function that multiplies the force constants at u with displacements of the free sites."""
        pairs, springs = pair_stiffness(self.bonds, u), self.springs
        extra, direction = (None, None) if springs is None else spring_stiffness(springs, u)

        def product(v):
            v, out = v * self.free[:, None], np.zeros((self.n_sites, 2))
            multiply(self.bonds, pairs, v, out)
            if springs is not None:
                multiply(springs, extra, v, out)
                if springs.embedding:
                    multiply_embedding(springs, direction, v, out)
            return out * self.free[:, None]

        return product

    def perturbed(self, springs):
        """The same atoms by a model: with springs."""
        return replace(self, springs=springs)


class LatticeResponse:
    """Inverse force constants of the perfect lattice of n × n cells, by fast Fourier transforms."""

    def __init__(self, n):
        """The 2 × 2 matrix of each wave vector; uniform displacements, which cost nothing, get the largest response."""
        p, q = np.meshgrid(2 * np.pi * np.arange(n) / n, 2 * np.pi * np.arange(n // 2 + 1) / n, indexing="ij")
        xx, xy, yy = np.zeros(p.shape), np.zeros(p.shape), np.zeros(p.shape)
        rest = LATTICE * (np.array(OFFSETS) @ VECTORS)
        none = np.zeros(len(rest), dtype=np.int32)
        bonds = Bonds(none, none, rest)
        for (i, j), (k_xx, k_xy, k_yy) in zip(OFFSETS, pair_stiffness(bonds, np.zeros((1, 2))), strict=True):
            wave = 2 - 2 * np.cos(i * p + j * q)
            xx, xy, yy = xx + k_xx * wave, xy + k_xy * wave, yy + k_yy * wave
        xx[0, 0], yy[0, 0] = 1.0, 1.0
        determinant = xx * yy - xy**2
        self.n, self.inverse = n, [yy / determinant, -xy / determinant, xx / determinant]
        self.inverse[0][0, 0] = self.inverse[2][0, 0] = self.inverse[0].max()

    def __call__(self, forces):
        """Displacements (n², 2) in answer to forces."""
        x, y = fft.rfft2(np.ascontiguousarray(forces.reshape(self.n, self.n, 2).transpose(2, 0, 1)))
        xx, xy, yy = self.inverse
        answer = fft.irfft2(np.stack([xx * x + xy * y, xy * x + yy * y]), s=(self.n, self.n))
        return np.ascontiguousarray(answer.transpose(1, 2, 0)).reshape(-1, 2)


class NotConvergedError(RuntimeError):
    """Newton's method did not reach its tolerance."""


class NegativeCurvatureError(RuntimeError):
    """Conjugate gradients found a direction, the argument, in which the energy curves down."""


def relax(crystal, u, response, tolerance=1e-14, most=60):
    """Displacements of a minimum, from u (n_sites, 2), and what it took.

    Ends at forces below the tolerance, or below 1e-12 where rounding keeps the last step from lowering them.
    """
    u, n_products, size = u.copy(), 0, 2 * crystal.n_sites
    held = crystal.free[:, None]
    preconditioner = LinearOperator((size, size), lambda x: (response(x.reshape(-1, 2)) * held).ravel(), dtype=float)
    forces = crystal.energy_and_forces(u)[1]
    for n_steps in range(most):
        largest = np.abs(forces).max()
        hessian = crystal.hessian(u)

        def product(x, hessian=hessian):
            nonlocal n_products
            n_products += 1
            answer = hessian(x.reshape(-1, 2)).ravel()
            if x.ravel() @ answer < 0:
                raise NegativeCurvatureError(x)
            return answer

        operator, accuracy = LinearOperator((size, size), product, dtype=float), np.clip(largest, 1e-6, 0.03)
        try:
            step = cg(operator, forces.ravel(), rtol=accuracy, maxiter=300, M=preconditioner)[0].reshape(-1, 2)
        except NegativeCurvatureError as found:
            # Far from a minimum: downhill along the direction in which the energy curves down.
            step = found.args[0].reshape(-1, 2)
            step *= np.copysign(0.1 * LATTICE / np.abs(step).max(), (step * forces).sum())
        step *= min(1.0, 0.2 * LATTICE / max(np.abs(step).max(), tolerance))
        trial = crystal.energy_and_forces(u + step)[1]
        if largest < 1e-12 and np.abs(trial).max() > 0.5 * largest:
            return u, {"steps": n_steps, "products": n_products, "largest force": float(largest)}
        u, forces = u + step, trial
        if np.abs(forces).max() < tolerance:
            return u, {"steps": n_steps + 1, "products": n_products, "largest force": float(np.abs(forces).max())}
    raise NotConvergedError(f"a force of {largest:.1e} is left after {most} steps")


if __name__ == "__main__":
    print(f"lattice constant {LATTICE:.8f}, φ'' {CURVATURE:.4f}, φ''' {THIRD:.3f} of nearest neighbours")
    print("C11 {:.5f}, C12 {:.5f}, C66 {:.5f}".format(*elastic_constants(Dial())))
