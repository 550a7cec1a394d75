"""Settings of a run of homogeneous nonequilibrium molecular dynamics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fluxan.errors import InputError
from fluxan.md.hnemd.driving_force import field_vector
from fluxan.md.md_settings import MdSettings


@dataclass(frozen=True)
class HnemdSettings(MdSettings):
    """Settings of a run; those of `fluxan.md.md_settings.MdSettings`, and further ones.

    Attributes
    ----------
    ensemble : str
        "nvt", stochastic velocity rescaling, which acts on the kinetic energy as a whole.
    driving_force : tuple of float, (3,)
        F_e, 1/Å.
    max_lag : float
        Longest lag of the virial-velocity correlation, for the spectral heat current, ps; 0 for none.
    nonlinearity, nonlinearity_error : float
        Relative error of κ by nonlinearity that a check of linearity has found, and its standard error; NaN where there
        was none.
    """

    ensemble: str = "nvt"
    driving_force: tuple[float, float, float] = (0.0, 0.0, 0.0)
    max_lag: float = 2.0
    nonlinearity: float = float("nan")
    nonlinearity_error: float = float("nan")

    def __post_init__(self) -> None:
        """Refuse invalid settings, naming them."""
        super().__post_init__()
        if self.ensemble != "nvt":
            why = {
                "nve": "the driving force does work, and without a thermostat the atoms heat up",
                "langevin": "its friction would damp the flux that the driving force sustains",
            }
            raise InputError(f'HNEMD with ensemble = {self.ensemble!r}: {why[self.ensemble]}; use "nvt"')
        if not field_vector(self.driving_force).any():
            raise InputError("the driving force is zero: nothing flows; give a field F_e in 1/Å, or run `fluxan md`")
        if not (np.isfinite(self.max_lag) and self.max_lag >= 0):
            raise InputError(f"max_lag is {self.max_lag!r}, expected a time in ps, or 0 for no spectral heat current")

    @property
    def lag_samples(self) -> int:
        """Longest lag of the virial-velocity correlation, in fluxes; 0 for none."""
        return round(self.max_lag / self.frame_step)

    def fixed(self) -> dict[str, object]:
        """Settings that must not change when a run is continued; its length may."""
        found = {"nonlinearity", "nonlinearity_error"}
        fixed = {name: value for name, value in super().fixed().items() if name not in found}
        return fixed | {"driving_force": list(self.driving_force)}

    def attributes(self) -> dict[str, object]:
        """Settings that the flux file records."""
        return {
            "ensemble": "hnemd",
            "driving_force": list(self.driving_force),
            "thermostat_temperature": self.temperature,
            "nonlinearity": self.nonlinearity,
            "nonlinearity_error": self.nonlinearity_error,
        }
