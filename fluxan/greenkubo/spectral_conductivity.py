"""Spectral heat current: the thermal conductivity by frequency, from virial-velocity correlations.

    κ(ω) = 2/(V T F_e) ∫_{-∞}^{∞} cos(ωt) K(t) dt,   κ = ∫₀^∞ κ(ω) dω/2π = K(0)/(V T F_e)

(Z. Fan et al., Phys. Rev. B 99, 064308 (2019)), here as a function of f = ω/2π, so that κ = ∫₀^∞ κ(f) df.

K is known at lags -L … L. Multiplied with a taper that is 1 at lag 0, its cosine transform at the L + 1 frequencies
m/(2 L Δt), from 0 to the Nyquist frequency, has the integral K(0) by the trapezoidal rule, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.correlation.virial_velocity import VirialVelocityCorrelation, VirialVelocityCorrelator
from fluxan.display import Displayed, names
from fluxan.errors import InputError
from fluxan.greenkubo.result import Curve
from fluxan.greenkubo.thermodynamic_state import require_positive
from fluxan.rounding import value_and_error
from fluxan.units import CONDUCTIVITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    #: What a spectrum is computed from: one run, or independent ones.
    Correlations = (
        VirialVelocityCorrelator
        | VirialVelocityCorrelation
        | Iterable[VirialVelocityCorrelator | VirialVelocityCorrelation]
    )

#: Fewest blocks from whose scatter an error is taken: that of three would itself be uncertain by a half.
_MIN_BLOCKS: Final = 4
#: Factors of K by name, as functions of the lag divided by the longest one.
TAPERS: Final[dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "hann": lambda x: 0.5 + 0.5 * np.cos(np.pi * x),
    "none": np.ones_like,
}


@dataclass(frozen=True, repr=False)
class SpectralHeatCurrent(Displayed):
    """Spectrum of the potential part of the heat flux, by carrier; errors are standard errors over blocks.

    Attributes
    ----------
    spectrum, cumulative : Curve
        κ(f) and its integral from 0 to f, against f in THz; (n_frequencies,).
    by_carrier, cumulative_by_carrier : dict of str to Curve
        The same of each carrier; they add up to the total.
    times : (2 n_frequencies - 1,) float64
        Lags, ps.
    correlation : (2 n_frequencies - 1, n_carriers) float64
        K(t) before the taper; in eV Å/ps for a unit vector x.
    unit : str
        Unit of the integrals: "W/(m K)", or "eV Å/ps" of a spectrum of K itself. Spectra are per THz.
    taper : str
        "hann" or "none".
    n_blocks, n_samples : int
        Number of blocks, and of samples in all. Errors of fewer than four blocks are infinite.
    """

    spectrum: Curve
    cumulative: Curve
    by_carrier: dict[str, Curve]
    cumulative_by_carrier: dict[str, Curve]
    times: NDArray[np.float64]
    correlation: NDArray[np.float64]
    unit: str
    taper: str
    n_blocks: int
    n_samples: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the carriers."""
        return tuple(self.by_carrier)

    @property
    def integral(self) -> float:
        """Integral over all frequencies: κ of the potential part, or K(0)."""
        return float(self.cumulative.value[-1])

    @property
    def integral_error(self) -> float:
        """Standard error of `integral`."""
        return float(self.cumulative.error[-1])

    def _facts(self) -> dict[str, str]:
        step = float(self.spectrum.x[1])
        return {
            "integral": f"{value_and_error(self.integral, self.integral_error)} {self.unit}",
            "carriers": names(self.labels),
            "frequencies": f"0 to {self.spectrum.x[-1]:.4g} THz in steps of {step:.3g} THz",
            "samples": f"{self.n_samples} in {self.n_blocks} blocks",
        }


def spectral_conductivity(
    correlations: Correlations,
    *,
    volume: float,
    temperature: float,
    driving_force: float,
    labels: Sequence[str] | None = None,
    taper: str = "hann",
) -> SpectralHeatCurrent:
    """Spectral conductivity from virial-velocity correlations under a driving force.

    Parameters
    ----------
    correlations : VirialVelocityCorrelator, VirialVelocityCorrelation, or iterable of them
        One run or several; x is the unit vector along the driving force.
    volume : float
        Å³.
    temperature : float
        K.
    driving_force : float
        F_e, 1/Å. Of the equilibrium form of `fluxan.spectral_heat_current`, x = ∫J ds/3 without 1/(k_B T): k_B T.
    labels : sequence of str, optional
        Names of the groups, by default their numbers.
    taper : str
        "hann", or "none".

    Returns
    -------
    SpectralHeatCurrent
        In W/(m K).

    Raises
    ------
    InputError
        A setting has an invalid value, or the runs have different ones.
    ShortRunError
        A run has no pair of samples at the longest lag.
    """
    require_positive(volume=volume, temperature=temperature)
    if not (np.isfinite(driving_force) and driving_force > 0):
        raise InputError(f"driving_force is {driving_force!r}, expected a positive number in 1/Å")
    factor = CONDUCTIVITY / (volume * temperature * driving_force)
    return _spectrum(_joined(correlations), factor, "W/(m K)", labels, taper)


def virial_velocity_spectrum(
    correlations: Correlations, *, labels: Sequence[str] | None = None, taper: str = "hann"
) -> SpectralHeatCurrent:
    """One-sided spectrum of K itself, whose integral over frequency is ⟨x·J_pot⟩.

    Parameters
    ----------
    correlations, labels, taper
        As in `spectral_conductivity`.

    Returns
    -------
    SpectralHeatCurrent
        In eV Å/ps.

    Raises
    ------
    InputError
        A setting has an invalid value, or the runs have different ones.
    ShortRunError
        A run has no pair of samples at the longest lag.
    """
    return _spectrum(_joined(correlations), 1.0, "eV Å/ps", labels, taper)


def _joined(correlations: Correlations) -> VirialVelocityCorrelation:
    """All blocks of all runs."""
    single = isinstance(correlations, (VirialVelocityCorrelator, VirialVelocityCorrelation))
    joined: VirialVelocityCorrelation | None = None
    for item in [correlations] if single else correlations:  # type: ignore[union-attr]
        if not isinstance(item, (VirialVelocityCorrelator, VirialVelocityCorrelation)):
            raise InputError(f"a {type(item).__name__} is no virial-velocity correlation")
        part = item.correlation() if isinstance(item, VirialVelocityCorrelator) else item
        joined = part if joined is None else joined.joined(part)
    if joined is None:
        raise InputError("there are no correlations: give at least one")
    return joined


def _spectrum(
    correlation: VirialVelocityCorrelation, factor: float, unit: str, labels: Sequence[str] | None, taper: str
) -> SpectralHeatCurrent:
    """Spectrum of ``factor · K``, its integral, and errors from the scatter of blocks."""
    n_groups = correlation.sums.shape[1]
    labels = [str(k) for k in range(n_groups)] if labels is None else [str(label) for label in labels]
    if len(labels) != n_groups or len(set(labels)) != n_groups:
        raise InputError(f"labels are {labels}, expected {n_groups} different names, one per group")
    if taper not in TAPERS:
        raise InputError(f"taper is {taper!r}, expected one of {', '.join(map(repr, TAPERS))}")
    samples = correlation.n_samples
    pooled, blocks = correlation.values, correlation.block_values
    frequencies = np.arange(len(pooled) // 2 + 1) / ((len(pooled) - 1) * correlation.time_step)

    def curves(values: NDArray[np.float64], block_values: NDArray[np.float64]) -> tuple[Curve, Curve]:
        """κ(f) and its integral of one K (n_lags,), with errors from those of blocks (n_blocks, n_lags)."""
        spectra = factor * _cosine_transform(np.vstack([values, block_values]), correlation.time_step, taper)
        integrals = _integrals(spectra, frequencies[1])
        spectrum, cumulative = (
            Curve(frequencies, x[0], _standard_errors(x[1:], samples)) for x in (spectra, integrals)
        )
        return spectrum, cumulative

    parts = {label: curves(pooled[:, k], blocks[:, :, k]) for k, label in enumerate(labels)}
    spectrum, cumulative = curves(pooled.sum(axis=1), blocks.sum(axis=2))
    return SpectralHeatCurrent(
        spectrum=spectrum,
        cumulative=cumulative,
        by_carrier={label: part[0] for label, part in parts.items()},
        cumulative_by_carrier={label: part[1] for label, part in parts.items()},
        times=correlation.times,
        correlation=pooled,
        unit=unit,
        taper=taper,
        n_blocks=len(samples),
        n_samples=int(samples.sum()),
    )


def _cosine_transform(values: NDArray[np.float64], time_step: float, taper: str) -> NDArray[np.float64]:
    """2 ∫cos(2πft) w(t) K(t) dt at frequencies m/(2 L Δt), of K at lags -L … L in the last axis."""
    from scipy.fft import dct

    n = values.shape[-1] // 2
    even = 0.5 * (values[..., n:] + values[..., n::-1]) * TAPERS[taper](np.arange(n + 1) / n)
    # The type I transform counts lag 0 once, lags between twice, and the longest once, as the trapezoidal rule in time.
    transform: NDArray[np.float64] = dct(even, type=1, axis=-1)
    return 2 * time_step * transform


def _integrals(spectra: NDArray[np.float64], step: float) -> NDArray[np.float64]:
    """Integrals from 0 to each frequency, by the trapezoidal rule."""
    from scipy.integrate import cumulative_trapezoid

    integrals: NDArray[np.float64] = cumulative_trapezoid(spectra, dx=step, axis=-1, initial=0.0)
    return integrals


def _standard_errors(blocks: NDArray[np.float64], samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard errors of means over blocks (n_blocks, n), weighted by samples; infinite for few blocks."""
    n = len(blocks)
    if n < _MIN_BLOCKS:
        return np.full(blocks.shape[1:], np.inf)
    weights = samples / samples.sum()
    deviations = blocks - weights @ blocks
    return np.asarray(np.sqrt(n / (n - 1) * (weights**2 @ deviations**2)))
