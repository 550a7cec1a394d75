"""Straight dislocations in cylinders of a cubic crystal, whose rim is held at the field of linear elasticity.

`matscipy.dislocation` builds them with Stroh's solution in anisotropic elasticity (P. Grigorev et al., J. Open Source
Softw. 9, 5668 (2024)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError
from fluxan.generalization.defects import Defect

if TYPE_CHECKING:
    from collections.abc import Callable

#: Class of matscipy by name.
KINDS = {
    "diamond 30 degree partial": "DiamondGlide30degreePartial",
    "diamond 90 degree partial": "DiamondGlide90degreePartial",
    "diamond screw": "DiamondGlideScrew",
    "diamond 60 degree": "DiamondGlide60Degree",
    "bcc screw": "BCCScrew111Dislocation",
    "bcc edge": "BCCEdge111Dislocation",
    "fcc screw": "FCCScrew110Dislocation",
    "fcc edge": "FCCEdge110Dislocation",
}


def dislocation(
    kind: str,
    element: str,
    lattice_constant: float,
    elastic: tuple[float, float, float],
    *,
    radius: float,
    rim: float,
) -> Defect:
    """A cylinder with a straight dislocation along its axis, periodic along the axis alone.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    element : str
        Chemical symbol.
    lattice_constant : float
        Of the cubic cell, Å.
    elastic : (3,) tuple of float
        C11, C12 and C44, GPa; they set the displacement of the rim.
    radius, rim : float
        Of the cylinder, and width of its outer part that is held fixed, Å; twice the cutoff of the model or more, where
        triplets or message passing reach further than the cutoff.

    Raises
    ------
    InputError
        The kind is not known, the extra `fluxan[defects]` is missing, or the cylinder has no free atoms.
    """
    if kind not in KINDS:
        raise InputError(f"{kind!r} is no kind of dislocation; choose from {', '.join(KINDS)}")
    if not 0 < rim < radius:
        raise InputError(f"the rim is {rim} A of a cylinder of radius {radius} A; it must be thinner")
    builder = _builder(kind)(lattice_constant, *elastic, symbol=element)
    bulk, atoms, fixed = builder.build_cylinder(
        radius, fix_width=rim, method="adsl", verbose=False, return_fix_mask=True
    )
    for part in (bulk, atoms):
        part.pbc = (False, False, True)
        part.calc = None
    if np.all(fixed):
        raise InputError(f"all {len(atoms)} atoms of the cylinder are in its rim; give a larger radius")
    core = np.append(atoms.cell.lengths()[:2] / 2, 0.0)
    return Defect(f"{kind} of {element}", atoms, bulk, np.arange(len(atoms)), core)


def _builder(kind: str) -> Callable[..., Any]:
    try:
        from matscipy import dislocation as of_matscipy
    except ImportError:
        raise InputError("dislocations need matscipy: pip install 'fluxan[defects]'") from None
    return getattr(of_matscipy, KINDS[kind])
