"""From the amplitudes of a flux to its conductivity, single or multicomponent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo import multicomponent
from fluxan.greenkubo.estimate import Spectrum
from fluxan.greenkubo.fourier import amplitudes
from fluxan.greenkubo.judgement import diagnose, notes, warnings
from fluxan.greenkubo.limit import Limit, Ordinates, autocovariance
from fluxan.greenkubo.result import Conductivity, Curve
from fluxan.greenkubo.shares import Shares, shares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.series import FluxSeries
    from fluxan.greenkubo.state import State

_MOST_LAGS: Final = 20_000
_POOL: Final = 1.06
_ROUND_OFF: Final = 1e-6
#: Frequencies that tell how far the mean of a flux may be from zero, and how many times as far it is by chance once in
#: 10,000 runs.
_LOWEST: Final = 8
_OFFSET: Final = 3.0


class Analysis(ABC):
    """One flux on its way to a conductivity."""

    def __init__(self, series: FluxSeries, state: State, *, method: str, compare: tuple[str, ...]) -> None:
        self.series = series
        self.state = state
        self.method = method
        self.compare = compare
        self.diffusion: float | None = None

    def conductivity(self, components: str) -> Conductivity:
        """The result for "auto", "single" or "multi" components.

        Raises
        ------
        InputError
            Several components are asked for and their velocities are not known, or the run is too short.
        """
        ordinates = self._ordinates()
        limit = Limit.of(ordinates, self.method, self.compare)
        if components == "multi" or (components == "auto" and multicomponent.diffuses(self.diffusion)):
            return self._at_rest(limit)
        return self._result(limit, limit, ordinates, self._divided(limit), components="single")

    @abstractmethod
    def _ordinates(self) -> Ordinates:
        """What estimators see of the flux."""

    @abstractmethod
    def _divided(self, limit: Limit) -> Shares:
        """Shares of its parts."""

    def _at_rest(self, limit: Limit) -> Conductivity:
        """The result at zero flux of mass; `limit` is that without regard to it."""
        raise InputError(
            "components='multi' needs the fluxes of two species or more: a Dataset split by element, or velocity="
        )

    def _require_motion(self, power: NDArray[np.float64]) -> None:
        if not (power > 0).all():
            raise InputError("the total flux does not fluctuate at all; is it a flux of a system that moves?")

    def _result(
        self, limit: Limit, single: Limit, ordinates: Ordinates, parts: Shares, *, components: str
    ) -> Conductivity:
        state = self.state
        kappa, error = self._kappa(limit)
        kappa_single, error_single = self._kappa(single)
        correlation, cumulative = self._curves(ordinates, limit)
        result = Conductivity(
            kappa=kappa,
            error=error,
            parts=parts.of(kappa, error),
            labels=self.series.labels,
            unit=state.unit,
            method=self.method,
            components=components,
            kappa_single=kappa_single,
            error_single=error_single,
            estimates={name: estimate.scaled(state.factor) for name, estimate in limit.estimates.items()},
            temperature=state.temperature,
            temperature_error=state.temperature_error,
            volume=state.volume,
            spectrum=self._spectrum(ordinates),
            correlation=correlation,
            cumulative=cumulative,
            diagnostics=diagnose(self.series, ordinates, limit, self.diffusion),
        )
        return replace(
            result,
            notes=(*notes(result), *(f"{name} gave no estimate: {reason}" for name, reason in limit.failed.items())),
            warnings=(*limit.disagreements(self.method), *warnings(result, self.series, ordinates.offset)),
        )

    def _kappa(self, limit: Limit) -> tuple[float, float]:
        estimate = limit.estimates[self.method].scaled(self.state.factor)
        return estimate.value, self.state.error(estimate.value, estimate.error)

    def _spectrum(self, ordinates: Ordinates) -> Curve:
        pooled = ordinates.spectrum.pooled(ratio=_POOL, singles=1)
        value = pooled.density * self.state.factor
        return Curve(pooled.frequencies, value, value * np.sqrt(2 / pooled.dof))

    def _curves(self, ordinates: Ordinates, limit: Limit) -> tuple[Curve, Curve]:
        """C(t) and κ(τ), with their errors at lags beyond the correlations.

        Over a run of length L and three components, C scatters by √(∫C²dt/3L) and its integral by S(0)·√(τ/3L)
        (M. S. Bartlett, J. R. Stat. Soc. Suppl. 8, 27 (1946)).
        """
        c, lag, n = ordinates.correlation, ordinates.lag, ordinates.length
        times = np.arange(c.size, dtype=np.float64) * lag
        squares = lag * (c[0] ** 2 + 2 * float(c[1:] @ c[1:]))
        correlation = Curve(times, c, np.full(c.size, np.sqrt(squares / (3 * n * lag))))
        integral = lag * (np.cumsum(c) - 0.5 * (c + c[0])) * 2 * self.state.factor
        kappa = limit.estimates[self.method].value * self.state.factor
        return correlation, Curve(times, integral, kappa * np.sqrt(2 * (2 * times + lag) / (3 * n * lag)))


class Sampled(Analysis):
    """A flux whose samples are known."""

    def __init__(self, series: FluxSeries, state: State, *, method: str, compare: tuple[str, ...]) -> None:
        super().__init__(series, state, method=method, compare=compare)
        self.amplitudes = amplitudes(series)
        total = self.amplitudes.total
        self._require_motion(np.abs(total).max(axis=1))
        # Velocities that could not carry a millionth of the flux at k_B T each are round-off of a momentum of zero.
        noise = float((_ROUND_OFF * np.linalg.norm(total) / state.thermal_energy) ** 2)
        self.combinations = multicomponent.independent_fluxes(self.amplitudes.species, noise=noise)
        if self.combinations.shape[1]:
            self.diffusion = multicomponent.diffusion(self._fluxes())

    def _fluxes(self) -> NDArray[np.complex128]:
        return np.einsum("fax,ak->fkx", self.amplitudes.species, self.combinations)

    def _ordinates(self) -> Ordinates:
        a = self.amplitudes
        density = np.einsum("fx,fx->f", a.total.conj(), a.total).real / 3
        spectrum = Spectrum.of(a.frequencies, density, dof=6.0, time_step=a.time_step)
        return self._of(spectrum, spectrum, a.samples[:, : self.series.n_channels].sum(axis=1))

    def _divided(self, limit: Limit) -> Shares:
        return self._shares(self.amplitudes.frequencies, self.amplitudes.flux, limit)

    def _shares(self, frequencies: NDArray[np.float64], flux: NDArray[np.complex128], limit: Limit) -> Shares:
        return shares(frequencies, flux, band=limit.band, by_owner=self.series.by_owner)

    def _at_rest(self, limit: Limit) -> Conductivity:
        if not self.combinations.shape[1]:
            return super()._at_rest(limit)
        ordinates, projected = self._multi(limit.band)
        at_rest = Limit.of(ordinates, self.method, self.compare)
        divided = self._shares(projected.fine_frequencies, projected.flux, at_rest)
        return self._result(at_rest, limit, ordinates, divided, components="multi")

    def _multi(self, band: float) -> tuple[Ordinates, multicomponent.Projected]:
        a, n = self.amplitudes, self.series.n_channels
        fluxes = self._fluxes()
        fine, even = (multicomponent.project(a, fluxes, multiples=multiples) for multiples in (False, True))
        spectrum, spaced = (
            Spectrum.of(p.frequencies, p.density, dof=p.dof, time_step=a.time_step) for p in (fine, even)
        )
        weights = multicomponent.prediction(a, self.combinations, band=band)
        predicted = np.einsum("tax,a->tx", a.samples[:, n:], weights)
        return self._of(spectrum, spaced, a.samples[:, :n].sum(axis=1) - predicted), fine

    def _of(self, spectrum: Spectrum, even: Spectrum, samples: NDArray[np.float64]) -> Ordinates:
        lags = min(_MOST_LAGS, len(samples) // 4)
        lag = self.amplitudes.thinning * self.series.time_step
        mean = samples.mean(axis=0)
        scatter = 3 * float(spectrum.density[:_LOWEST].mean()) / (len(samples) * lag)
        offset = float(np.sqrt(mean @ mean / scatter))
        if offset > _OFFSET:
            samples = samples - mean
        else:
            offset = 0.0
        return Ordinates(spectrum, even, autocovariance(samples, lags), lag, len(samples), offset)
