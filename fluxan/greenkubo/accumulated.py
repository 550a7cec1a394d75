"""Conductivity from what a correlator keeps of a flux."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo.analysis import Analysis
from fluxan.greenkubo.covariances import SPAN, divided, levels, resolved, summed
from fluxan.greenkubo.estimate import Spectrum
from fluxan.greenkubo.limit import Limit, Ordinates
from fluxan.greenkubo.shares import Share, Shares, shares

if TYPE_CHECKING:
    from fluxan.correlation import Correlator
    from fluxan.greenkubo.result import Conductivity
    from fluxan.greenkubo.state import State
    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Lags of the correlation that are shown, and integrated by the running integral.
_MOST_LAGS: Final = 2**20


class Accumulated(Analysis):
    """A flux whose samples are gone."""

    def __init__(
        self, correlator: Correlator, series: HeatFluxSeries, state: State, *, method: str, compare: tuple[str, ...]
    ) -> None:
        super().__init__(series, state, method=method, compare=compare)
        self.correlator = correlator
        self.levels = levels(correlator, series.time_step)
        self._require_motion(self.levels[0].total[:1])
        self.level, self.slowest = resolved(self.levels)
        self.unlike = not np.isnan(self.levels[0].values).any()

    def _ordinates(self) -> Ordinates:
        correlation, n = self.correlator.correlation(), self.series.n_channels
        total = summed(correlation.values.reshape(-1, n, 3, n, 3))
        lags = np.arange(min(int(correlation.lags[-1]) + 1, _MOST_LAGS))
        return Ordinates(
            self.level.spectrum(self.levels[0]),
            self._segments(),
            np.interp(lags, correlation.lags, total),
            self.series.time_step,
            self.series.n_samples,
        )

    def _segments(self) -> Spectrum | None:
        """Periodogram of the linear scheme's segments, for those who want one; none where no segment is full."""
        if self.correlator.layout.scheme != "linear":
            return None
        try:
            found = self.correlator.spectrum()
        except InputError:
            return None
        n, dt = self.series.n_channels, self.series.time_step
        kept = slice(1, (found.length - 1) // 2 + 1)
        power = summed(found.density[kept].reshape(-1, n, 3, n, 3)).real
        ratio = dt / found.time_step
        dof = 6.0 * found.n_segments
        return Spectrum.of(found.frequencies[kept] / ratio, power * ratio, dof=dof, time_step=dt)

    def _divided(self, limit: Limit) -> Shares:
        frequencies, flux = divided(self.levels, limit.band).amplitudes()
        found = shares(frequencies, flux, band=limit.band, by_owner=False)
        if self.unlike:
            return found
        known = np.where(np.eye(3, dtype=bool), 1.0, np.nan)
        return replace(found, tensor=Share(found.tensor.value * known, found.tensor.error * known))

    def _result(
        self, limit: Limit, single: Limit, ordinates: Ordinates, parts: Shares, *, components: str
    ) -> Conductivity:
        result = super()._result(limit, single, ordinates, parts, components=components)
        notes, warnings = [*result.notes], [*result.warnings]
        if self.series.n_channels > 1:
            notes.append(
                "a correlator keeps no fluxes of species: where they diffuse, κ at zero flux of mass needs the flux"
            )
        if not self.unlike:
            notes.append(
                "the correlator holds no products of unlike components: the tensor is known along its diagonal alone; "
                "pairs='all' gives the rest"
            )
        longest = max(level.span for level in self.levels)
        if longest < SPAN * self.slowest:
            needed = int(np.ceil(self.correlator.layout.max_lag * SPAN * self.slowest / longest))
            warnings.append(
                f"the correlator's lags span {longest / self.slowest:.2g} times its slowest motion "
                f"({self.slowest:.3g} ps), slower ones are not seen: take a max_lag of {needed} or more"
            )
        return replace(result, notes=tuple(notes), warnings=tuple(warnings))
