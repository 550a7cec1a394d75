"""Small systems that come with fluxan, ready to run: a structure, a model, and settings that suit them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

    from fluxan.potentials.base import Potential
    from fluxan.system import Frame


@dataclass(frozen=True)
class Example:
    """A system to run.

    Attributes
    ----------
    build : callable
        Returns the frame, without velocities.
    potential : str
        Name of its shipped potential.
    temperature : float
        Temperature, K.
    timestep : float
        Time step, fs.
    time : float
        Length of the run, ps; long enough for a first conductivity.
    thermalise : float
        Time of thermalisation before the run, ps.
    """

    build: Callable[[], Frame]
    potential: str
    temperature: float
    timestep: float
    time: float
    thermalise: float

    def model(self) -> Potential:
        """Its potential, with forces that go to zero at the cutoff, so that energy is conserved."""
        from fluxan.potentials.load import load_model, parse_model

        text = load_model(f"shipped:{self.potential}").describe() or ""
        return parse_model(text.replace('truncation = "none"', 'truncation = "force"'), source=self.potential)


def argon() -> Frame:
    """108 atoms at the density of the liquid near its triple point, on a lattice that melts."""
    from ase.build import bulk

    return _frame(bulk("Ar", "fcc", a=5.72, cubic=True).repeat(3))


def silver_iodide() -> Frame:
    """96 atoms of the wurtzite phase, in a cell with right angles."""
    from ase.build import bulk

    return _frame(bulk("AgI", "wurtzite", a=4.701, c=7.532, orthorhombic=True).repeat((3, 2, 2)))


EXAMPLES: Final = {
    "ar-liquid": Example(argon, "ar", temperature=94.0, timestep=4.0, time=100.0, thermalise=10.0),
    "agi": Example(silver_iodide, "agi", temperature=300.0, timestep=2.0, time=40.0, thermalise=5.0),
}


def find_example(name: str) -> Example:
    """A system by its name.

    Raises
    ------
    InputError
        There is no example of that name.
    """
    if name not in EXAMPLES:
        raise InputError(f"no shipped structure {name!r}; there are {', '.join(f'shipped:{e}' for e in EXAMPLES)}")
    return EXAMPLES[name]


#: Largest number of atoms; more exceed any machine's memory, with model and neighbours.
MOST_ATOMS = 100_000_000


def repeated(frame: Frame, times: tuple[int, int, int]) -> Frame:
    """A frame repeated along its cell vectors.

    Raises
    ------
    InputError
        It has no cell, a number of repetitions is not positive, or there would be more than `MOST_ATOMS` atoms.
    """
    if times == (1, 1, 1):
        return frame
    if frame.cell is None:
        raise InputError("the structure has no cell that could be repeated")
    if min(times) < 1:
        raise InputError(f"a structure cannot be repeated {times} times")
    if math.prod(times) * frame.n_atoms > MOST_ATOMS:
        raise InputError(
            f"{math.prod(times) * frame.n_atoms} atoms are too many to run; repeat the structure less often"
        )
    images = np.stack(np.meshgrid(*map(np.arange, times), indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = images @ frame.cell
    count = len(offsets)
    return frame.replace(
        positions=(offsets[:, None] + frame.positions).reshape(-1, 3),
        velocities=None if frame.velocities is None else np.tile(frame.velocities, (count, 1)),
        cell=frame.cell * np.array(times)[:, None],
        numbers=np.tile(frame.numbers, count),
        masses=np.tile(np.asarray(frame.masses), count),
    )


def _frame(atoms: Atoms) -> Frame:
    from fluxan.system import Frame

    return Frame(atoms.get_positions(), None, np.array(atoms.cell), atoms.numbers)
