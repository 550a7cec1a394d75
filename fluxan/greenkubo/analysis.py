"""From the amplitudes of a flux to its conductivity, single or multicomponent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo import multicomponent
from fluxan.greenkubo.directions import LIKELY, SURELY, Directions, unlike
from fluxan.greenkubo.estimate import Estimate, Spectrum
from fluxan.greenkubo.fourier import amplitudes
from fluxan.greenkubo.judgement import diagnose, notes, warnings
from fluxan.greenkubo.limit import Limit, Ordinates, autocovariance
from fluxan.greenkubo.result import Conductivity, Curve
from fluxan.greenkubo.shares import Share, Shares, shares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.greenkubo.fourier import Amplitudes
    from fluxan.greenkubo.state import State
    from fluxan.series.heat_flux_series import HeatFluxSeries

_MOST_LAGS: Final = 20_000
_POOL: Final = 1.06
_ROUND_OFF: Final = 1e-6
#: Frequencies that tell how far the mean of a flux may be from zero, and how many times as far it is by chance once in
#: 10,000 runs.
_LOWEST: Final = 8
_OFFSET: Final = 3.0
#: Probabilities of spectra along x, y and z, were they one, at which each is estimated by itself, and at which they
#: differ for sure; ratio of frequencies, and degrees of freedom, of the bins in which they are compared.
_LOOK: Final = 0.05
_SURE: Final = 1e-9
_BIN_RATIO: Final = 1.5
_BIN_DOF: Final = 16


class Analysis(ABC):
    """One flux on its way to a conductivity."""

    def __init__(self, series: HeatFluxSeries, state: State, *, method: str, compare: tuple[str, ...]) -> None:
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
            "components='multi' needs the fluxes of two species or more, not all zero: a Dataset split by element, or "
            "velocity= with an array, or mass_flux= with another code's file"
        )

    def _by_axis(self, components: str) -> list[Limit | None] | None:
        """Estimates along x, y and z each, None along axes where nothing flows; None where the axes are not known."""
        return None

    def _axes(self, tensor: Share, components: str) -> tuple[bool, list[Limit | None] | None]:
        """Whether x, y and z may be one and the same, and, where they are not, estimates along each if there are any.

        Spectra along the three tell cheaply whether to look; estimates along each decide.
        """
        chance = self._unlike()
        if chance is not None and chance > _LOOK:
            return True, None
        axes = self._by_axis(components)
        if axes is None or chance is None:
            # Where one share is high the others are low by half of that.
            return Directions(np.diag(tensor.value), np.sqrt(1.5) * np.diag(tensor.error)).isotropic, None
        found = np.array([(0, 0) if a is None else self._kappa(a.estimates[self.method]) for a in axes])
        sigmas = LIKELY if chance < _SURE else SURELY
        isotropic = Directions(found[:, 0], found[:, 1], sigmas=sigmas).isotropic
        return isotropic, None if isotropic else axes

    def _unlike(self) -> float | None:
        """Probability of the spectra along x, y and z were they one; None where they are not known."""
        return None

    def _require_motion(self, power: NDArray[np.float64]) -> None:
        if not (power > 0).all():
            raise InputError("the total flux does not fluctuate at all; is it a flux of a system that moves?")

    def _result(
        self, limit: Limit, single: Limit, ordinates: Ordinates, parts: Shares, *, components: str
    ) -> Conductivity:
        state = self.state
        isotropic, axes = self._axes(parts.tensor, components)
        estimates = mean_over_axes(axes, limit) if axes else limit.estimates
        # Three components count as independent and alike; where they are not alike the error is larger.
        spread = 1.0 if isotropic or axes else float(np.linalg.norm(np.diag(parts.tensor.value)) / np.sqrt(3))
        estimates = {name: replace(e, error=e.error * spread) for name, e in estimates.items()}
        kappa, error = self._kappa(estimates[self.method])
        kappa_single, error_single = (
            self._kappa(single.estimates[self.method]) if single is not limit else (kappa, error)
        )
        correlation, cumulative = self._curves(ordinates, limit)
        result = Conductivity(
            kappa=kappa,
            error=error,
            parts=self._with_axes(parts.of(kappa, error), axes),
            labels=self.series.labels,
            unit=state.unit,
            method=self.method,
            components=components,
            kappa_single=kappa_single,
            error_single=error_single,
            estimates={name: estimate.scaled(state.factor) for name, estimate in estimates.items()},
            temperature=state.temperature,
            temperature_error=state.temperature_error,
            volume=state.volume,
            spectrum=self._spectrum(ordinates),
            correlation=correlation,
            cumulative=cumulative,
            diagnostics=diagnose(self.series, ordinates, limit, self.diffusion),
            isotropic=isotropic,
        )
        failed = {name: reason for axis in axes or [] if axis is not None for name, reason in axis.failed.items()}
        failed |= limit.failed
        return replace(
            result,
            notes=(*notes(result), *(f"{name} gave no estimate: {reason}" for name, reason in failed.items())),
            warnings=(*limit.disagreements(self.method), *warnings(result, self.series, ordinates.offset)),
        )

    def _kappa(self, estimate: Estimate) -> tuple[float, float]:
        estimate = estimate.scaled(self.state.factor)
        return estimate.value, self.state.error(estimate.value, estimate.error)

    def _with_axes(self, parts: Shares, axes: list[Limit | None] | None) -> Shares:
        """Put the estimates along the axes into the tensor's diagonal."""
        if axes is None:
            return parts
        value, error = parts.tensor.value.copy(), parts.tensor.error.copy()
        for axis, limit in enumerate(axes):
            found = (0.0, 0.0) if limit is None else self._kappa(limit.estimates[self.method])
            value[axis, axis], error[axis, axis] = found
        return replace(parts, tensor=Share(value, error))

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

    def __init__(self, series: HeatFluxSeries, state: State, *, method: str, compare: tuple[str, ...]) -> None:
        super().__init__(series, state, method=method, compare=compare)
        self.amplitudes = amplitudes(series)
        total = self.amplitudes.total
        self._require_motion(np.abs(total).max(axis=1))
        # Velocities that could not carry a millionth of the flux at k_B T each are round-off of a momentum of zero.
        noise = float((_ROUND_OFF * np.linalg.norm(total) / state.thermal_energy) ** 2)
        self.combinations = multicomponent.independent_fluxes(self.amplitudes.species, noise=noise)
        if self.combinations.shape[1]:
            self.diffusion = multicomponent.diffusion(self._fluxes(self.amplitudes))

    def _fluxes(self, a: Amplitudes) -> NDArray[np.complex128]:
        return np.einsum("fax,ak->fkx", a.species, self.combinations)

    def _ordinates(self) -> Ordinates:
        return self._single(self.amplitudes)

    def _single(self, a: Amplitudes) -> Ordinates:
        n_axes = a.total.shape[1]
        density = np.einsum("fx,fx->f", a.total.conj(), a.total).real / n_axes
        spectrum = Spectrum.of(a.frequencies, density, dof=2.0 * n_axes, time_step=a.time_step)
        return self._of(spectrum, spectrum, a.samples[:, : self.series.n_channels].sum(axis=1))

    def _divided(self, limit: Limit) -> Shares:
        return self._shares(self.amplitudes.frequencies, self.amplitudes.flux, limit)

    def _shares(self, frequencies: NDArray[np.float64], flux: NDArray[np.complex128], limit: Limit) -> Shares:
        return shares(frequencies, flux, band=limit.band, by_owner=self.series.by_owner)

    def _at_rest(self, limit: Limit) -> Conductivity:
        if not self.combinations.shape[1]:
            return super()._at_rest(limit)
        ordinates, projected = self._multi(self.amplitudes, limit.band)
        at_rest = Limit.of(ordinates, self.method, self.compare)
        divided = self._shares(projected.fine_frequencies, projected.flux, at_rest)
        return self._result(at_rest, limit, ordinates, divided, components="multi")

    def _unlike(self) -> float:
        a = self.amplitudes
        power = np.abs(a.total.T) ** 2
        if not power.any(axis=1).all():
            return 0.0
        pooled = [
            Spectrum.of(a.frequencies, np.maximum(p, np.finfo(float).tiny), dof=2.0, time_step=a.time_step).pooled(
                ratio=_BIN_RATIO, singles=0
            )
            for p in power
        ]
        wide = pooled[0].dof >= _BIN_DOF
        return unlike(np.array([s.density[wide] for s in pooled]), pooled[0].dof[wide])

    def _by_axis(self, components: str) -> list[Limit | None] | None:
        try:
            return [self._along(axis, components) for axis in range(3)]
        except InputError:
            return None

    def _along(self, axis: int, components: str) -> Limit | None:
        """Estimates of the flux along one axis alone; None where nothing flows."""
        a = self.amplitudes.along(axis)
        if not np.abs(a.total).any():
            return None
        single = Limit.of(self._single(a), self.method, () if components == "multi" else self.compare)
        if components == "single":
            return single
        return Limit.of(self._multi(a, single.band)[0], self.method, self.compare)

    def _multi(self, a: Amplitudes, band: float) -> tuple[Ordinates, multicomponent.Projected]:
        n = self.series.n_channels
        fluxes = self._fluxes(a)
        fine, even = (multicomponent.project(a, fluxes, multiples=multiples) for multiples in (False, True))
        spectrum, spaced = (
            Spectrum.of(p.frequencies, p.density, dof=p.dof, time_step=a.time_step) for p in (fine, even)
        )
        weights = multicomponent.prediction(a, self.combinations, band=band)
        predicted = np.einsum("tax,a->tx", a.samples[:, n:], weights)
        return self._of(spectrum, spaced, a.samples[:, :n].sum(axis=1) - predicted), fine

    def _of(self, spectrum: Spectrum, even: Spectrum, samples: NDArray[np.float64]) -> Ordinates:
        n_axes = samples.shape[1]
        lags = min(_MOST_LAGS, len(samples) // 4)
        lag = self.amplitudes.thinning * self.series.time_step
        mean = samples.mean(axis=0)
        scatter = n_axes * float(spectrum.density[:_LOWEST].mean()) / (len(samples) * lag)
        offset = float(np.sqrt(mean @ mean / scatter))
        if offset > _OFFSET:
            samples = samples - mean
        else:
            offset = 0.0
        # A correlation counts as the mean over three components; that of one axis was averaged over a third as much.
        length = len(samples) * n_axes // 3
        return Ordinates(spectrum, even, autocovariance(samples, lags), lag, length, offset)


def mean_over_axes(axes: list[Limit | None], pooled: Limit) -> dict[str, Estimate]:
    """Estimates of each method as the mean of those along the axes, with their errors; `pooled` says which methods."""
    flowing = [limit.estimates for limit in axes if limit is not None]
    common = [name for name in pooled.estimates if all(name in estimates for estimates in flowing)]
    return {
        name: Estimate(
            sum(e[name].value for e in flowing) / 3,
            float(np.linalg.norm([e[name].error for e in flowing])) / 3,
            pooled.estimates[name].method,
            pooled.estimates[name].details,
        )
        for name in common
    }
