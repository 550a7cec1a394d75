"""Conductivity from the mean flux under a driving force (HNEMD): κ = ⟨J·F̂_e⟩/(V T F_e).

D. J. Evans, Phys. Lett. A 91, 457 (1982); Z. Fan et al., Phys. Rev. B 99, 064308 (2019), eq. 5.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fluxan.display import Displayed, names
from fluxan.errors import InputError, ShortRunError
from fluxan.greenkubo.result import Curve
from fluxan.greenkubo.thermodynamic_state import ThermodynamicState
from fluxan.rounding import value_and_error
from fluxan.series.conversion import series_of_dataset
from fluxan.series.flux_dataset import open_flux
from fluxan.units import BOLTZMANN, CONDUCTIVITY

if TYPE_CHECKING:
    from pathlib import Path

    import xarray
    from numpy.typing import NDArray

    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Blocks whose means give the errors: enough for an error known to 18 %, few enough to outlast correlations.
N_BLOCKS: Final = 16
#: Largest number of points of the running conductivity, a multiple of the number of blocks.
_MAX_POINTS: Final = 4096
#: Fraction of the run that is discarded at its start by default, in which the response builds up.
_DISCARDED: Final = 0.1
#: Correlation of the means of neighbouring blocks that chance exceeds in one run of 40.
_CORRELATED: Final = 2 / np.sqrt(N_BLOCKS)
#: Difference of the halves of a run, in its standard errors, that chance exceeds in one run of 80.
_DIFFERENT: Final = 2.5
#: Relative deviation of the temperature from the thermostat's that is warned of, where it is significant.
_HEATING: Final = 0.02
#: Ratio of the error to that of linear response beyond which the flux fluctuates more than it does in equilibrium; of
#: errors from 16 blocks, chance exceeds it in one run of 1,300.
_EXCITED: Final = 1.6
#: Standard errors beyond which a deviation is significant.
_SIGNIFICANT: Final = 4.0


@dataclass(frozen=True, repr=False)
class DrivenConductivity(Displayed):
    """A thermal conductivity along a driving force, W/(m K).

    Attributes
    ----------
    kappa, error : float
        Conductivity and its standard error: the larger one of `block_error` and `expected_error`, with the error of the
        temperature. Blocks that are shorter than the slowest motion give too small an error.
    blocks : (16,) float64
        κ of the blocks that errors are from.
    labels : tuple of str, (n,)
        Names of the carriers.
    matrix, matrix_error : (n, n) float64
        Contributions of owner × carrier; they add up to `kappa`. Convection is on the diagonal.
    by_carrier, by_carrier_error : (n,) float64
        Contributions of the carriers.
    response, response_error : (3,) float64
        Mean flux along x, y and z over V T F_e: the components of the conductivity tensor times the direction of F_e.
    driving_force : (3,) float64
        F_e, 1/Å.
    temperature, temperature_error : float
        Mean over the run, K.
    volume : float
        Å³.
    length : float
        Length of the run after `discarded`, ps.
    discarded : float
        Time discarded at the start of the run, ps.
    excess : float
        Temperature minus that of the thermostat, K; zero where that is not known.
    bias, bias_error : float
        Relative error of κ by nonlinearity that a check of linearity has found for this driving force, and its
        standard error; NaN where there was no check.
    running : Curve
        Mean up to each time, with the error that it had then if the errors of means fall as 1/√t.
    warnings : tuple of str
        Evidence against the result.
    """

    kappa: float
    error: float
    blocks: NDArray[np.float64]
    labels: tuple[str, ...]
    matrix: NDArray[np.float64]
    matrix_error: NDArray[np.float64]
    by_carrier: NDArray[np.float64]
    by_carrier_error: NDArray[np.float64]
    response: NDArray[np.float64]
    response_error: NDArray[np.float64]
    driving_force: NDArray[np.float64]
    temperature: float
    temperature_error: float
    volume: float
    length: float
    discarded: float
    excess: float
    bias: float
    bias_error: float
    running: Curve
    warnings: tuple[str, ...] = field(default=())

    unit = "W/(m K)"

    @property
    def strength(self) -> float:
        """Magnitude of the driving force, 1/Å."""
        return float(np.linalg.norm(self.driving_force))

    @property
    def block_error(self) -> float:
        """Standard error of κ from the means of blocks."""
        return float(standard_error(self.blocks))

    @property
    def expected_error(self) -> float:
        """Standard error of κ in linear response, W/(m K): ``√(2 k_B κ/(V t))/F_e``.

        The mean of J over a time t has the variance S(0)/t, and S(0) = 2 V k_B T² κ. A larger error means slower
        fluctuations than in equilibrium.
        """
        return linear_response_error(self.kappa, self.volume, self.length) / self.strength

    @property
    def heats(self) -> bool:
        """Whether the driving force heats the atoms faster than the thermostat cools them."""
        return self.excess > max(_HEATING * self.temperature, _SIGNIFICANT * self.temperature_error)

    @property
    def cold(self) -> bool:
        """Whether the atoms are colder than the thermostat, as at the beginning of a run."""
        return -self.excess > max(_HEATING * self.temperature, _SIGNIFICANT * self.temperature_error)

    @property
    def excited(self) -> bool:
        """Whether the flux fluctuates more than in linear response, where fluctuations are those of equilibrium."""
        return self.block_error > _EXCITED * self.expected_error

    @property
    def nonlinear(self) -> str:
        """Evidence that the driving force is beyond linear response, in a few words; empty where there is none."""
        evidence = {
            "the atoms are hotter than the thermostat": self.heats,
            "the flux fluctuates too much": self.excited,
        }
        return ", ".join(words for words, holds in evidence.items() if holds)

    def length_for(self, relative_error: float) -> float:
        """Length of a run with the same driving force for a relative error of κ, ps."""
        return self.length * (self.error / (relative_error * abs(self.kappa))) ** 2

    def _facts(self) -> dict[str, str]:
        many = len(self.warnings)
        return {
            "κ": f"{value_and_error(self.kappa, self.error)} {self.unit}",
            "driving force": f"{self.strength:.4g}/Å along {np.round(self.driving_force / self.strength, 4).tolist()}",
            "temperature": f"{self.temperature:.4g} K",
            "length": f"{self.length:.5g} ps",
            "carriers": names(self.labels),
            "warnings": f"{many}: {self.warnings[0]}" if many else "none",
        }


def driven_conductivity(
    flux: xarray.Dataset | str | Path,
    *,
    discard: float | None = None,
    temperature: float | None = None,
    volume: float | None = None,
) -> DrivenConductivity:
    """Conductivity from the mean flux of a run under a driving force.

    Parameters
    ----------
    flux : xarray.Dataset or str or Path
        Flux of a run of HNEMD, see `fluxan.md.hnemd`.
    discard : float, optional
        Time to discard at the start of the run, in which the response builds up, ps; a tenth of the run by default.
    temperature : float, optional
        K; by default the mean over the run.
    volume : float, optional
        Å³; by default the mean over the run.

    Raises
    ------
    InputError
        The run had no driving force, is too short, or its flux is not finite.
    """
    if not hasattr(flux, "attrs"):
        with open_flux(flux) as dataset:
            return driven_conductivity(dataset, discard=discard, temperature=temperature, volume=volume)
    series = series_of_dataset(flux)
    if series.driving_force is None:
        raise InputError("this flux is not of a run under a driving force: use fluxan.green_kubo")
    first = _discarded(series, discard)
    # Blocks of equal width end with the run: what does not fill them is discarded at the start too.
    width = -(-(series.n_samples - first) // _MAX_POINTS)
    first = series.n_samples - (series.n_samples - first) // (N_BLOCKS * width) * N_BLOCKS * width
    steady = series.part(first, series.n_samples)
    state = ThermodynamicState.of(steady, temperature=temperature, volume=volume, units="metal")
    bins = _bins(steady, width)
    driving = np.array(series.driving_force)
    found = _found(bins, state, driving)
    before, time_step = first * series.time_step, width * series.time_step
    length = len(bins) * time_step
    expected = linear_response_error(found["kappa"], state.volume, length) / np.linalg.norm(driving)
    statistical = max(float(standard_error(found["blocks"])), float(expected))
    error = float(np.hypot(statistical, found["kappa"] * state.temperature_error / state.temperature))
    points = found.pop("points")
    result = DrivenConductivity(
        **found,
        error=error,
        labels=series.labels,
        driving_force=driving,
        temperature=state.temperature,
        temperature_error=state.temperature_error,
        volume=state.volume,
        length=length,
        discarded=before,
        excess=_excess(steady, flux.attrs.get("thermostat_temperature")),
        bias=float(flux.attrs.get("nonlinearity", np.nan)),
        bias_error=float(flux.attrs.get("nonlinearity_error", np.nan)),
        running=_running(points, error, start=before, step=time_step),
    )
    return replace(result, warnings=tuple(_warnings(result)))


def _found(bins: NDArray[np.float64], state: ThermodynamicState, driving: NDArray[np.float64]) -> dict[str, Any]:
    """Conductivities from means over bins (n_bins, n_channels, 3): of each bin and block, and their means."""
    strength = float(np.linalg.norm(driving))
    scaled = bins * (CONDUCTIVITY / (state.volume * state.temperature * strength))
    count = len(bins) // N_BLOCKS
    blocks = scaled.reshape(N_BLOCKS, count, -1, 3).mean(axis=1)
    along = blocks @ (driving / strength)
    n = round(np.sqrt(along.shape[1]))
    matrix = along.reshape(N_BLOCKS, n, n)
    means = {"matrix": matrix, "by_carrier": matrix.sum(axis=1), "response": blocks.sum(axis=1)}
    found: dict[str, Any] = {name: values.mean(axis=0) for name, values in means.items()}
    found |= {f"{name}_error": standard_error(values) for name, values in means.items()}
    total = along.sum(axis=1)
    return found | {
        "kappa": float(total.mean()),
        "blocks": total,
        "points": scaled.sum(axis=1) @ (driving / strength),
    }


def linear_response_error(kappa: float, volume: float, length: float) -> float:
    """Standard error of κ, W/(m K), times the driving force, 1/Å, for a volume in Å³ and a length in ps."""
    return float(np.sqrt(2 * BOLTZMANN * CONDUCTIVITY * abs(kappa) / (volume * length)))


def standard_error(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard error of the mean of independent blocks (n_blocks, ...)."""
    return blocks.std(axis=0, ddof=1) / np.sqrt(len(blocks))


def _discarded(series: HeatFluxSeries, discard: float | None) -> int:
    """Number of samples to discard."""
    if discard is None:
        first = int(_DISCARDED * series.n_samples)
    elif np.isfinite(discard) and discard >= 0:
        first = round(discard / series.time_step)
    else:
        raise InputError(f"discard is {discard!r}, expected a time in ps")
    if series.n_samples - first < 2 * N_BLOCKS:
        raise ShortRunError(
            f"the flux has {series.n_samples} samples, of which {first} are discarded; a mean with an error needs "
            f"{2 * N_BLOCKS} at the very least"
        )
    return first


def _bins(series: HeatFluxSeries, width: int) -> NDArray[np.float64]:
    """Means (n_bins, n_channels, 3) over bins of equal width, in samples."""
    sums = np.zeros((series.n_samples // width, series.n_channels, 3))
    start = 0
    for block in series.blocks():
        which = np.arange(start, start + len(block)) // width
        np.add.at(sums, which, block[:, : series.n_channels])
        start += len(block)
    return sums / width


def _excess(series: HeatFluxSeries, target: float | None) -> float:
    """Mean temperature minus that of the thermostat, K; zero where one of them is not known."""
    return 0.0 if target is None or series.mean_temperature is None else series.mean_temperature - float(target)


def _running(points: NDArray[np.float64], error: float, *, start: float, step: float) -> Curve:
    """Mean up to each time, whose error falls as 1/√t."""
    counts = np.arange(1.0, len(points) + 1)
    return Curve(start + step * counts, np.cumsum(points) / counts, error * np.sqrt(len(points) / counts))


def _warnings(result: DrivenConductivity) -> list[str]:
    """Evidence against a result."""
    found, blocks = [], result.blocks
    deviations = blocks - blocks.mean()
    change = blocks[N_BLOCKS // 2 :].mean() - blocks[: N_BLOCKS // 2].mean()
    error = 2 * max(result.block_error, result.expected_error)
    if abs(change) > _DIFFERENT * error:
        found.append(
            f"the halves of the run differ: κ changes by {value_and_error(change, error)} from the first to the "
            "second; discard more, or run longer"
        )
    elif deviations[1:] @ deviations[:-1] > _CORRELATED * (deviations @ deviations):
        found.append("means of neighbouring blocks are correlated: the error is too small; run longer")
    if result.kappa < -_SIGNIFICANT * result.error:
        found.append("κ is negative: the response is not linear, or the forces are not the gradient of the energy")
    if result.excited:
        found.append(
            f"the flux fluctuates {result.block_error / result.expected_error:.2g} times as much as in equilibrium: "
            "the driving force excites slow motions beyond linear response; use a smaller one"
        )
    if result.heats:
        found.append(
            f"the temperature is {result.excess:.3g} K above the thermostat's: the driving force heats the atoms "
            "faster than the thermostat cools them; use a smaller one, or a shorter relaxation time"
        )
    if result.cold:
        found.append(f"the temperature is {-result.excess:.3g} K below the thermostat's: thermalise longer")
    return found
