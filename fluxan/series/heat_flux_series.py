"""J(t) of one run, sampled at equal intervals: the record that every reader returns and every analysis takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

#: Numbers per block of samples, 16 MiB.
BLOCK_SIZE: Final = 2**21


@dataclass(frozen=True)
class HeatFluxSeries:
    """A heat flux sampled at equal intervals, with the observables and settings that its source records.

    Attributes
    ----------
    read : callable
        Function of `start` and `stop`, half-open, giving the flux (n, n_channels, 3) and the species' sums of
        velocities or mass fluxes (n, n_species, 3). Volume-extensive: eV Å/ps, or reduced where `units` is "lj".
    n_samples : int
        Number of samples.
    time_step : float
        Time between samples, ps or reduced; NaN where it is neither recorded nor given.
    labels : tuple of str
        Names of the carriers.
    by_owner : bool
        Whether channels are owner × carrier, owner first, or carriers alone.
    species : tuple of str
        Names of the species whose velocities or mass fluxes are known.
    units : str
        "metal" or "lj".
    volume : (n,) or (1,) array, optional
        Volume of each sample, or one for all, Å³ or reduced.
    observables : mapping
        Other quantities of each sample, (n,) each: "temperature" in K, "potential_energy" or "energy" in eV, or
        reduced.
    given_temperature : float or None
        Temperature given by the user, K or reduced; it overrides that of the file.
    source : str
        Description of the source: "GPUMD compute.out", "array".
    driving_force : tuple of float, optional
        F_e of a run of HNEMD, (3,) 1/Å; None in equilibrium.
    notes, warnings : tuple of str
        Choices that the reader made, and evidence that the source may be wrong.
    """

    read: Callable[[int, int], tuple[NDArray[np.float64], NDArray[np.float64]]]
    n_samples: int
    time_step: float
    labels: tuple[str, ...]
    by_owner: bool = False
    species: tuple[str, ...] = ()
    units: str = "metal"
    volume: NDArray[np.float64] | None = None
    observables: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    given_temperature: float | None = None
    source: str = "array"
    driving_force: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_samples(
        cls,
        samples: NDArray[np.float64],
        time_step: float,
        labels: tuple[str, ...],
        *,
        velocity: NDArray[np.float64] | None = None,
        **facts: Any,
    ) -> HeatFluxSeries:
        """Make a series from arrays, with `facts` as further attributes.

        The flux is (n, n_channels, 3), the sums of velocities or mass fluxes (n, n_species, 3).
        """
        species = np.zeros((len(samples), 0, 3)) if velocity is None else velocity
        facts.setdefault("species", tuple(str(k) for k in range(species.shape[1])))
        return cls(
            lambda start, stop: (samples[start:stop], species[start:stop]), len(samples), time_step, labels, **facts
        )

    @property
    def n_species(self) -> int:
        """Number of species whose velocities or mass fluxes are known."""
        return len(self.species)

    @property
    def n_channels(self) -> int:
        """Number of channels, which add up to the total."""
        return len(self.labels) ** 2 if self.by_owner else len(self.labels)

    @property
    def duration(self) -> float:
        """Time from the first sample to one step after the last, ps."""
        return self.n_samples * self.time_step

    def require_time_step(self) -> None:
        """Refuse a series of unknown time step, or of fewer than two samples.

        Raises
        ------
        InputError
            The time step is not known, or there are fewer than two samples.
        """
        if self.n_samples < 2:
            raise InputError(f"this {self.source} holds {self.n_samples} sample, a conductivity needs many")
        if np.isnan(self.time_step):
            raise InputError(
                f"this {self.source} does not tell the time between its samples: give dt= in ps, or timestep= per MD "
                "step where it counts steps"
            )

    @property
    def samples(self) -> NDArray[np.float64]:
        """All of the flux, (n, n_channels, 3)."""
        return self.read(0, self.n_samples)[0]

    @property
    def velocity(self) -> NDArray[np.float64] | None:
        """All sums of velocities or mass fluxes, (n, n_species, 3); None where there are none."""
        return self.read(0, self.n_samples)[1] if self.species else None

    @property
    def total(self) -> NDArray[np.float64]:
        """Sum over channels, (n, 3)."""
        return self.samples.sum(axis=1)

    @property
    def temperature(self) -> NDArray[np.float64] | None:
        """Temperature of each sample, K or reduced; None where it is not known."""
        return self.observables.get("temperature")

    @property
    def potential_energy(self) -> NDArray[np.float64] | None:
        """Potential energy of each sample, eV or reduced; None where it is not known."""
        return self.observables.get("potential_energy")

    @property
    def mean_volume(self) -> float | None:
        """Mean volume over the run, Å³ or reduced; None where it is not known of all samples."""
        return _mean(self.volume)

    @property
    def mean_temperature(self) -> float | None:
        """The given temperature, or else the mean over the run, K or reduced; None where it is not known."""
        return _mean(self.temperature) if self.given_temperature is None else self.given_temperature

    def blocks(self) -> Iterator[NDArray[np.float64]]:
        """Yield flux and velocities of block after block, (k, n_channels + n_species, 3).

        Raises
        ------
        InputError
            A sample is not finite.
        """
        step = max(2, BLOCK_SIZE // (3 * (self.n_channels + self.n_species)))
        for start in range(0, self.n_samples, step):
            block = np.concatenate(self.read(start, min(start + step, self.n_samples)), axis=1)
            finite = np.isfinite(block).all(axis=(1, 2))
            if not finite.all():
                raise InputError(
                    f"the flux of frame {start + int(np.argmin(finite))} is not finite; use the part before or after it"
                )
            yield block

    def with_mass_flux(self, velocity: ArrayLike) -> HeatFluxSeries:
        """The series with the species' mass fluxes (n, n_species, 3), as they are.

        Raises
        ------
        InputError
            A wrong shape.
        """
        species = np.asarray(velocity, dtype=np.float64)
        if species.ndim != 3 or species.shape[0] != self.n_samples or species.shape[2] != 3:
            raise InputError(
                f"velocity has the shape {species.shape}, expected ({self.n_samples}, n_species, 3), the flux's frames"
            )
        read, names = self.read, tuple(str(k) for k in range(species.shape[1]))
        return replace(self, read=lambda start, stop: (read(start, stop)[0], species[start:stop]), species=names)

    def part(self, start: int, stop: int) -> HeatFluxSeries:
        """The samples from `start` to `stop`, half-open."""
        read, volume = self.read, self.volume
        return replace(
            self,
            read=lambda first, last: read(start + first, start + last),
            n_samples=stop - start,
            volume=volume if volume is None or len(volume) == 1 else volume[start:stop],
            observables={name: values[start:stop] for name, values in self.observables.items()},
        )

    def by_carrier(self) -> HeatFluxSeries:
        """The series with one channel per carrier."""
        if not self.by_owner:
            return self
        n, read = len(self.labels), self.read

        def carriers(start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            flux, velocity = read(start, stop)
            return flux.reshape(len(flux), n, n, 3).sum(axis=1), velocity

        return replace(self, read=carriers, by_owner=False)


def _mean(values: NDArray[np.float64] | None) -> float | None:
    return float(values.mean()) if values is not None and len(values) and np.isfinite(values).all() else None
