"""Volume and temperature of a run, and the factor that turns a spectral density into a conductivity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo.stationarity import StationaryMean
from fluxan.units import BOLTZMANN, CONDUCTIVITY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.series.heat_flux_series import HeatFluxSeries

#: By units: factor of S(0)/(2 V T²) and unit of the result; and Boltzmann's constant.
UNITS: Final = {"metal": (CONDUCTIVITY / BOLTZMANN, "W/(m K)"), "lj": (1.0, "reduced")}
_BOLTZMANN: Final = {"metal": BOLTZMANN, "lj": 1.0}


def require_positive(**settings: float | None) -> None:
    """Refuse settings that are given and are not positive numbers.

    Raises
    ------
    InputError
        One of them is not; the message names it.
    """
    units = {"temperature": "K", "dt": "ps", "volume": "Å³"}
    for name, value in settings.items():
        if value is None:
            continue
        if not isinstance(value, (int, float, np.integer, np.floating)) or not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value!r}, expected a positive number in {units[name]}")


@dataclass(frozen=True)
class ThermodynamicState:
    """Temperature and volume of a run, and the factor that turns S(0) into κ.

    Attributes
    ----------
    temperature, temperature_error : float
        K; the error is zero where the temperature was given.
    volume : float
        Å³.
    thermal_energy : float
        k_B T, eV.
    factor : float
        1/(2 V k_B T²), in `unit` per unit of the spectral density.
    unit : str
        "W/(m K)", or "reduced".
    """

    temperature: float
    temperature_error: float
    volume: float
    thermal_energy: float
    factor: float
    unit: str

    @classmethod
    def of(
        cls, series: HeatFluxSeries, *, temperature: float | None, volume: float | None, units: str
    ) -> ThermodynamicState:
        """State from the values given, else from the means over the run.

        Raises
        ------
        InputError
            Temperature or volume is neither given nor recorded, or not positive, or the units are unknown.
        """
        if units not in UNITS:
            raise InputError(f"units is {units!r}, expected one of {', '.join(map(repr, UNITS))}")
        error = 0.0
        if temperature is None:
            if series.temperature is None:
                raise InputError("this flux does not record its temperature: give temperature=")
            mean = StationaryMean.of(_finite(series.temperature, "temperature"))
            temperature, error = mean.mean, mean.error
        if volume is None:
            if series.volume is None:
                raise InputError(
                    "this flux has no volume (a cluster, a slab or a plain array): give volume=, that of the material"
                )
            volume = float(_finite(series.volume, "volume").mean())
        require_positive(temperature=temperature, volume=volume)
        factor, unit = UNITS[units]
        return cls(
            float(temperature),
            error,
            float(volume),
            _BOLTZMANN[units] * float(temperature),
            factor / (2 * volume * temperature**2),
            unit,
        )

    def error(self, kappa: float, error: float) -> float:
        """Standard error of κ including that of the temperature, since κ is proportional to 1/T²."""
        return float(np.hypot(error, 2 * kappa * self.temperature_error / self.temperature))


def _finite(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    finite = np.isfinite(values)
    if not finite.all():
        raise InputError(f"the {name} of frame {int(np.argmin(finite))} is not finite: give {name}=")
    return values
