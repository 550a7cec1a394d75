"""Conversion factors from LAMMPS' unit styles metal, real and lj to the units of fluxan.

LAMMPS manual, "units command", https://docs.lammps.org/units.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError
from fluxan.units import KCAL_PER_MOL, MASS_VELOCITY2, TIME, VELOCITY

if TYPE_CHECKING:
    from fluxan.trajectory.reader_options import ReaderOptions


@dataclass(frozen=True, slots=True)
class LammpsUnits:
    """Factors that convert a LAMMPS unit style.

    Attributes
    ----------
    length, velocity, time, mass, force : float
        Units of the style, in Å, Å/ps, ps, u and eV/Å.
    """

    length: float = 1.0
    velocity: float = 1.0
    time: float = 1.0
    mass: float = 1.0
    force: float = 1.0

    @classmethod
    def of(cls, style: str, options: ReaderOptions) -> LammpsUnits:
        """Factors of a style; lj takes ε, σ and m from the options, its time is σ √(m/ε).

        Raises
        ------
        InputError
            The style is unknown, or lacks one of ε, σ and m.
        """
        if style == "metal":
            return cls()
        if style == "real":
            return cls(velocity=VELOCITY["A/fs"], time=TIME["fs"], force=KCAL_PER_MOL)
        if style != "lj":
            raise InputError(f"LAMMPS units {style!r}; expected one of metal, real, lj")
        if options.epsilon is None or options.sigma is None or options.mass is None:
            raise InputError("units='lj' needs epsilon= (eV), sigma= (Å) and mass= (u)")
        velocity = float(np.sqrt(options.epsilon / (options.mass * MASS_VELOCITY2)))
        force = options.epsilon / options.sigma
        return cls(options.sigma, velocity, options.sigma / velocity, options.mass, force)
