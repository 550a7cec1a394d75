"""The result of `fluxan.green_kubo`: a conductivity with its parts, curves, notes and warnings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fluxan.display import Displayed, names
from fluxan.greenkubo.directions import ISOTROPY, Directions
from fluxan.rounding import value_and_error

if TYPE_CHECKING:
    import matplotlib.figure
    from numpy.typing import NDArray

    from fluxan.greenkubo.estimators.estimate import Estimate
    from fluxan.greenkubo.partition import Partition


@dataclass(frozen=True)
class Curve:
    """Values over time or frequency.

    Attributes
    ----------
    x : (n,) float64
        Time in ps or frequency in THz, in reduced units with units="lj".
    value, error : (n,) float64
        Values and one standard error.
    """

    x: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True)
class Diagnostics:
    """Length of a run, drifts and diffusion.

    Attributes
    ----------
    length : float
        Length of the run, ps.
    slowest : float
        Decay time of the slowest motion seen in the flux, ps; at least the correlation time.
    diffusion : float or None
        Power of the species' velocities at the lowest frequencies over that a decade above; near 1 where species
        diffuse, below 0.06 where they are bound. None where it is not known.
    diffusing : bool
        Whether species diffuse.
    temperature_drift, energy_drift : float or None
        Change of temperature (K) and potential energy (eV) over the run; None where they are not known.
    """

    length: float
    slowest: float
    diffusion: float | None
    diffusing: bool
    temperature_drift: float | None
    energy_drift: float | None

    @property
    def length_over_slowest(self) -> float:
        """Run length in decay times of the slowest motion; 20 and more are enough."""
        return self.length / self.slowest


@dataclass(frozen=True, repr=False)
class Conductivity(Displayed):
    """A thermal conductivity, in W/(m K), or in reduced units.

    Attributes
    ----------
    kappa, error : float
        Conductivity, a third of the tensor's trace, and its standard deviation (with that of the temperature).
    parts : Partition
        Divisions of `kappa` among parts, with errors; also available as the properties of this class.
    labels : tuple of str, (n,)
        Names of the carriers.
    unit : str
        "W/(m K)", or "reduced".
    method : str
        Estimator of `kappa`.
    components : str
        "single", or "multi": at zero mass flux.
    kappa_single, error_single : float
        Conductivity without regard to mass flux, and its error; the same as `kappa` where `components` is "single".
    estimates : dict of str to Estimate
        Every method's conductivity, by name.
    temperature, temperature_error : float
        K; the error is zero where the temperature was given.
    volume : float
        Å³.
    spectrum : Curve
        κ(f) = S(f)/(2 V k_B T²), pooled; tends to `kappa` at f = 0.
    correlation : Curve
        ⟨J(0)·J(t)⟩/3, in (eV Å/ps)².
    cumulative : Curve
        κ(τ), the integral of the correlation up to τ.
    diagnostics : Diagnostics
        Length of the run, drifts, diffusion.
    isotropic : bool
        Whether κ along x, y and z, the diagonal of `tensor`, may be the same. Where they differ, each was estimated
        from the flux along its own axis, and `kappa`, their mean, is the conductivity along none of them.
    notes : tuple of str
        Choices that were made.
    warnings : tuple of str
        Evidence against the result.
    """

    kappa: float
    error: float
    parts: Partition
    labels: tuple[str, ...]
    unit: str
    method: str
    components: str
    kappa_single: float
    error_single: float
    estimates: dict[str, Estimate]
    temperature: float
    temperature_error: float
    volume: float
    spectrum: Curve
    correlation: Curve
    cumulative: Curve
    diagnostics: Diagnostics
    isotropic: bool = True
    notes: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())

    @property
    def tensor(self) -> NDArray[np.float64]:
        """Conductivity tensor (3, 3), symmetric."""
        return self.parts.tensor.value

    @property
    def directions(self) -> Directions:
        """κ along x, y and z with errors."""
        sigmas = ISOTROPY.sigmas if self.isotropic else ISOTROPY.likely_sigmas
        return Directions(np.diag(self.tensor), np.diag(self.tensor_error), sigmas=sigmas)

    @property
    def by_carrier(self) -> NDArray[np.float64]:
        """Contributions (n,) of the carriers, each correlated with the total; may be negative, add up to `kappa`."""
        return self.parts.carriers.value

    @property
    def tensor_error(self) -> NDArray[np.float64]:
        """One standard deviation of `tensor`, (3, 3)."""
        return self.parts.tensor.error

    @property
    def by_carrier_error(self) -> NDArray[np.float64]:
        """One standard deviation of `by_carrier`, (n,)."""
        return self.parts.carriers.error

    @property
    def matrix_error(self) -> NDArray[np.float64]:
        """One standard deviation of `matrix`, (n, n)."""
        return self.parts.matrix.error

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Contributions (n, n), owner of the energy × carrier, each correlated with the total.

        Adds up to `kappa`, over owners to `by_carrier`. Where owners are not known (arrays, gauge-fixed fluxes) it is
        `cross`.
        """
        return self.parts.matrix.value

    @property
    def cross(self) -> NDArray[np.float64]:
        """Correlations (n, n) between the carriers' fluxes, symmetric; rows add up to `by_carrier`."""
        return self.parts.cross.value

    def _facts(self) -> dict[str, str]:
        metal = self.unit != "reduced"
        kelvin, volume = (" K", " Å³") if metal else ("", "")
        many = len(self.warnings)
        return {
            "κ": value_and_error(self.kappa, self.error) + (f" {self.unit}" if metal else " (reduced units)"),
            "method": f"{self.method}, {self.components}",
            "temperature": f"{self.temperature:.4g}{kelvin}",
            "volume": f"{self.volume:.6g}{volume}",
            "carriers": names(self.labels),
            "warnings": f"{many}: {self.warnings[0]}" if many else "none",
        }

    def __str__(self) -> str:
        """One line with κ, and one for each note and warning."""
        unit = "" if self.unit == "reduced" else f" {self.unit}"
        kappa = value_and_error(self.kappa, self.error)
        lines = [f"κ = {kappa}{unit} ({self.method}, T = {self.temperature:.4g})"]
        return "\n".join([*lines, *self.notes, *(f"warning: {warning}" for warning in self.warnings)])

    def plot(self) -> matplotlib.figure.Figure:
        """Draw C(t), κ(τ), the spectrum and the parts."""
        import fluxan

        return fluxan.plot(self)
