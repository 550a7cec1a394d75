"""What `fluxan.green_kubo` gives: the conductivity, its parts, and what one should know of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fluxan.display import Displayed, names
from fluxan.greenkubo.directions import LIKELY, SURELY, Directions
from fluxan.rounding import value_and_error

if TYPE_CHECKING:
    import matplotlib.figure
    from numpy.typing import NDArray

    from fluxan.greenkubo.estimators.estimate import Estimate
    from fluxan.greenkubo.partition import Partition


@dataclass(frozen=True)
class Curve:
    """Values over time (ps) or frequency (THz), with one standard error; `lj` units where those were asked for."""

    x: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True)
class Diagnostics:
    """How far the run can be trusted.

    Attributes
    ----------
    length
        Of the run, ps.
    slowest
        Decay time of the slowest motion seen in the flux, ps; at least the correlation time.
    diffusion
        Power of the species' velocities at the lowest frequencies over that a decade above; near 1 where species
        diffuse, below 0.06 where they are bound. None where it is not known.
    diffusing
        Whether species diffuse.
    temperature_drift, energy_drift
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
    kappa, error
        Conductivity, a third of the tensor's trace, and one standard deviation of it (the temperature's included).
    parts
        Its divisions, with errors; also by the names below.
    labels
        (n,) names of the carriers.
    unit
        "W/(m K)", or "reduced".
    method
        That `kappa` was estimated with.
    components
        "single", or "multi": at zero flux of mass.
    kappa_single, error_single
        Without regard to the flux of mass; the same as `kappa` where components are "single".
    estimates
        Every method's conductivity, by name.
    temperature, temperature_error
        K; the error is zero where the temperature was given.
    volume
        Å³.
    spectrum
        κ(f) = S(f)/(2 V k_B T²), pooled; tends to `kappa` at f = 0.
    correlation
        ⟨J(0)·J(t)⟩/3, in (eV Å/ps)².
    cumulative
        κ(τ), the integral of the correlation up to τ.
    diagnostics
        Length of the run, drifts, diffusion.
    isotropic
        Whether κ along x, y and z, the diagonal of `tensor`, may be one and the same. Where it is not, each was
        estimated from the flux along its own axis, and `kappa` is their mean: the conductivity along none of them.
    notes
        What was decided on the way, in words.
    warnings
        What speaks against the result, in words.
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
        """(3, 3), symmetric."""
        return self.parts.tensor.value

    @property
    def directions(self) -> Directions:
        """κ along x, y and z with errors."""
        sigmas = SURELY if self.isotropic else LIKELY
        return Directions(np.diag(self.tensor), np.diag(self.tensor_error), sigmas=sigmas)

    @property
    def by_carrier(self) -> NDArray[np.float64]:
        """(n,) what each carrier carries: its flux correlated with the total. Adds up to `kappa`; may be negative."""
        return self.parts.carriers.value

    @property
    def tensor_error(self) -> NDArray[np.float64]:
        """(3, 3), one standard deviation."""
        return self.parts.tensor.error

    @property
    def by_carrier_error(self) -> NDArray[np.float64]:
        """(n,), one standard deviation."""
        return self.parts.carriers.error

    @property
    def matrix_error(self) -> NDArray[np.float64]:
        """(n, n), one standard deviation."""
        return self.parts.matrix.error

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(n, n) owner of the energy × carrier, each correlated with the total.

        Adds up to `kappa`, over owners to `by_carrier`. Where owners are not known (arrays, gauge-fixed fluxes) it is
        `cross`.
        """
        return self.parts.matrix.value

    @property
    def cross(self) -> NDArray[np.float64]:
        """(n, n), symmetric: correlations between what carriers carry. Rows add up to `by_carrier`."""
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
        """One line, and one more for each note and warning."""
        unit = "" if self.unit == "reduced" else f" {self.unit}"
        kappa = value_and_error(self.kappa, self.error)
        lines = [f"κ = {kappa}{unit} ({self.method}, T = {self.temperature:.4g})"]
        return "\n".join([*lines, *self.notes, *(f"warning: {warning}" for warning in self.warnings)])

    def plot(self) -> matplotlib.figure.Figure:
        """Draw C(t), κ(τ), the spectrum and the parts."""
        import fluxan

        return fluxan.plot(self)
