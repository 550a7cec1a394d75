"""Relaxation of structures to a tolerance of the force, with a check that they stay in their basin."""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from ase.optimize import LBFGS
from ase.optimize.precon import Exp, PreconLBFGS
from scipy.spatial import cKDTree

from fluxan.errors import FluxanError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms
    from ase.calculators.calculator import Calculator

#: Least number of atoms for which a preconditioner pays, and the range of its springs over the nearest distance.
_MANY, _RANGE = 100, 2.2

logging.getLogger("ase.utils.linesearcharmijo").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """A relaxed structure.

    Attributes
    ----------
    atoms : ase.Atoms
        Without a calculator.
    energy : float
        eV.
    largest_force : float
        Largest force on a free atom, eV/Å.
    steps : int
        Steps of the optimiser.
    reason : str
        Why the result must not be used, in words: the tolerance was not reached, or atoms changed their sites. Empty
        if it is fine.
    """

    atoms: Atoms
    energy: float
    largest_force: float
    steps: int
    reason: str


def relax(
    atoms: Atoms, calculator: Calculator, *, tolerance: float = 1e-4, steps: int = 2000, sites: Atoms | None = None
) -> Relaxed:
    """Minimise the energy in a fixed cell; constraints of the atoms hold.

    Parameters
    ----------
    atoms : ase.Atoms
        Is not changed.
    calculator : ase.calculators.calculator.Calculator
        Gives energies and forces.
    tolerance : float
        Largest force that is left, eV/Å.
    steps : int
        Most steps.
    sites : ase.Atoms, optional
        The same atoms where they belong; by default `atoms` itself.

    Raises
    ------
    InputError
        The tolerance is not positive, or the calculator gives numbers that are not finite.

    Notes
    -----
    L-BFGS with the preconditioner of D. Packwood et al., J. Chem. Phys. 144, 164109 (2016), from ASE: without it the
    number of steps grows with the diameter of the cell. ASE solves its linear system with pyamg if that is there: of
    71 s for an interstitial among 4,096 atoms of silicon 67 went into a direct solver, with pyamg the whole takes 8 s.
    """
    if not tolerance > 0:
        raise InputError(f"the tolerance of a relaxation is {tolerance} eV/A; it must be positive")
    moved = atoms.copy()
    moved.calc = calculator
    if not np.isfinite(moved.get_forces()).all():
        raise InputError("the forces on the structure to relax are not finite")
    optimizer = _optimizer(moved)
    last = moved.positions.copy()
    optimizer.attach(lambda: last.__setitem__(slice(None), moved.positions))
    failure = ""
    try:
        # ASE tells of line searches that failed and begins anew; what comes of it is checked below.
        with np.errstate(all="ignore"), warnings.catch_warnings(), _repeatable():
            warnings.simplefilter("ignore")
            optimizer.run(fmax=tolerance, steps=steps)
    except (FluxanError, ValueError, RuntimeError) as error:
        # Below round-off the differences of forces are noise, and the next step is not finite.
        moved.positions, failure = last, f": {error}"
    forces = moved.get_forces()
    largest = float(np.sqrt((forces**2).sum(axis=1).max()))
    energy, reason = float(moved.get_potential_energy()), ""
    if not largest <= tolerance:
        reason = f"a force of {largest:.2g} eV/A is left after {optimizer.get_number_of_steps()} steps{failure}"
    elif changed := changed_sites(atoms if sites is None else sites, moved):
        left = "1 atom left its site" if changed == 1 else f"{changed} atoms left their sites"
        reason = f"{left}: this is another basin"
    moved.calc = None
    return Relaxed(moved, energy, largest, optimizer.get_number_of_steps(), reason)


def forget(calculator: Calculator) -> None:
    """Let the next results of fluxan's own calculators depend on the atoms alone, to the last bit."""
    if hasattr(calculator, "forget"):
        calculator.forget()


def changed_sites(before: Atoms, after: Atoms) -> int:
    """Number of atoms that moved by more than half the distance of neighbours, without their mean displacement."""
    shift = find_mic(after.positions - before.positions, before.cell, before.pbc)[0]
    distances = np.linalg.norm(shift - shift.mean(axis=0), axis=1)
    return int(np.sum(distances > 0.5 * _nearest_distance(before)))


@contextmanager
def _repeatable() -> Iterator[None]:
    """Let pyamg, which begins with random vectors from NumPy's global state, give the same bits every time."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _optimizer(atoms: Atoms) -> LBFGS | PreconLBFGS:
    if len(atoms) < _MANY:
        return LBFGS(atoms, logfile=os.devnull)
    nearest = _nearest_distance(atoms)
    springs = Exp(A=3.0, r_cut=_RANGE * nearest, r_NN=nearest, mu=1.0, reinitialize=False)
    springs.rng = np.random.default_rng(0)  # of the first vectors of pyamg's solver, for the same bits every time
    return PreconLBFGS(atoms, precon=springs, use_armijo=True, logfile=os.devnull)


def _nearest_distance(atoms: Atoms) -> float:
    """Median distance of an atom from its nearest neighbour, Å."""
    if not any(atoms.pbc):
        return float(np.median(cKDTree(atoms.positions).query(atoms.positions, k=2)[0][:, 1]))
    reach = 3.5
    first, distances = neighbor_list("id", atoms, reach)
    while len(np.unique(first)) < 0.5 * len(atoms):
        reach *= 1.5
        first, distances = neighbor_list("id", atoms, reach)
    nearest = np.full(len(atoms), np.inf)
    np.minimum.at(nearest, first, distances)
    return float(np.median(nearest[np.isfinite(nearest)]))
