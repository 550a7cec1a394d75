"""Writes labelled frames as extended XYZ, for `read_labelled` and other programs.

Units are eV, eV/Å and eV/Å³, the stress being positive under tension.

The format has eight decimals: positions that are rounded to these before they are labelled are read back exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.replacement import replacing
from fluxan.trajectory.memory import atoms_of_frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fluxan.system import Frame
    from fluxan.trajectory.labelled_frame import LabelledFrame

#: Decimals of positions, velocities and forces in extended XYZ, as ASE writes it.
DECIMALS = 8


def write_labelled(path: Path, frames: Sequence[LabelledFrame]) -> None:
    """Write frames and their labels; the file appears as a whole, or not at all.

    Parameters
    ----------
    path : Path
        Extended XYZ.
    frames : sequence of LabelledFrame
        Labels that are None are left out.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from ase.io import write

    with replacing(path, parents=True) as unfinished:
        if frames:
            write(unfinished, [_atoms_with_labels(item) for item in frames], format="extxyz")
        else:
            unfinished.write_text("", encoding="utf-8")


def rounded(frame: Frame) -> Frame:
    """A frame whose positions and cell are numbers that the file gives back exactly."""
    cell = None if frame.cell is None else np.round(frame.cell, DECIMALS)
    return frame.replace(positions=np.round(frame.positions, DECIMALS), cell=cell)


def _atoms_with_labels(item: LabelledFrame) -> Any:
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = atoms_of_frame(item.frame)
    labels: dict[str, Any] = {}
    if item.energy is not None:
        labels["energy"] = item.energy
    if item.forces is not None:
        labels["forces"] = item.forces
    if item.virial is not None and item.frame.volume is not None:
        labels["stress"] = (-item.virial / item.frame.volume)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    atoms.calc = SinglePointCalculator(atoms, **labels) if labels else None
    atoms.info["trajectory"] = item.trajectory
    return atoms
