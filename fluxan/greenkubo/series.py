"""A flux as Green–Kubo takes it: read in blocks, with what else each frame tells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from fluxan.correlation.layout import wanted_pairs
from fluxan.correlation.samples import flux_samples, time_step
from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import xarray
    from numpy.typing import NDArray

    from fluxan.correlation import Correlator
    from fluxan.fluxfiles.record import FluxRecord

#: Samples per block are this many numbers, 16 MiB.
_BLOCK: Final = 2**21
_NEEDED: Final = ("kinetic", "convective", "velocity", "volume", "temperature", "potential_energy")
#: Root mean square, in a file's own unit or over that of another species, at which a mass flux is round-off.
_NOTHING: Final = 1e-12
#: The variable of a Dataset that holds Σ_j ⟨W_j⟩ v_j; see `fluxan.greenkubo.gauge`.
MEAN_VIRIAL: Final = "mean_virial"


@dataclass(frozen=True)
class FluxSeries:
    """Samples of a flux at equal times.

    Attributes
    ----------
    read
        Function of a first frame and one behind the last, giving the flux (n, n_channels, 3) and the sums of velocities
        of the species (n, n_species, 3).
    n_samples
        Frames.
    time_step
        Time between frames, ps.
    labels
        (n_carriers,) names of the carriers.
    by_owner
        Whether channels are owner × carrier, owner first, or carriers alone.
    n_species
        Species whose velocities are known, or none.
    volume
        (n,) of each frame, Å³; one value where it was given; none where nothing is known.
    temperature, potential_energy
        (n,) of each frame, K and eV; none where they are not known.
    """

    read: Callable[[int, int], tuple[NDArray[np.float64], NDArray[np.float64]]]
    n_samples: int
    time_step: float
    labels: tuple[str, ...]
    by_owner: bool
    n_species: int
    volume: NDArray[np.float64] | None = None
    temperature: NDArray[np.float64] | None = None
    potential_energy: NDArray[np.float64] | None = None

    @property
    def n_channels(self) -> int:
        """Channels that add up to the total."""
        return len(self.labels) ** 2 if self.by_owner else len(self.labels)

    @property
    def length(self) -> float:
        """Time from the first frame to one step behind the last, ps."""
        return self.n_samples * self.time_step

    def blocks(self) -> Iterator[NDArray[np.float64]]:
        """Flux and velocities of block after block, (k, n_channels + n_species, 3), checked.

        Raises
        ------
        InputError
            A sample is not finite.
        """
        step = max(2, _BLOCK // (3 * (self.n_channels + self.n_species)))
        for start in range(0, self.n_samples, step):
            block = np.concatenate(self.read(start, min(start + step, self.n_samples)), axis=1)
            finite = np.isfinite(block).all(axis=(1, 2))
            if not finite.all():
                raise InputError(
                    f"the flux of frame {start + int(np.argmin(finite))} is not finite; use the part before or behind"
                )
            yield block

    @classmethod
    def of_dataset(cls, dataset: xarray.Dataset, *, dt: float | None, remove: str | None) -> FluxSeries:
        """Take a Dataset of `fluxan.decompose`, in memory or on disk.

        Raises
        ------
        InputError
            Times are not equidistant or count frames, or there is no mean virial to remove.
        """
        if remove is not None:
            return _without_mean_virial(cls.of_dataset(dataset, dt=dt, remove=None), dataset)
        missing = [name for name in _NEEDED if name not in dataset]
        if missing:
            raise InputError(
                f"the Dataset lacks {', '.join(missing)}, which every flux of fluxan.decompose has; give it whole, or "
                "J as an array with dt, volume and temperature"
            )

        def read(start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            block = dataset.isel(time=slice(start, stop))
            velocity = block["velocity"].transpose("time", "carrier", "xyz").values
            return _channels(block), velocity.astype(np.float64, copy=False)

        volume = dataset["volume"].values
        return cls(
            read,
            dataset.sizes["time"],
            time_step(dataset, dt),
            tuple(str(label) for label in dataset["carrier"].values),
            by_owner=True,
            n_species=dataset.sizes["carrier"],
            volume=None if np.isnan(volume).any() else volume,
            temperature=dataset["temperature"].values,
            potential_energy=dataset["potential_energy"].values,
        )

    @classmethod
    def of_array(cls, flux: object, *, dt: float | None, velocity: object = None) -> FluxSeries:
        """Take an array (n, 3) or (n, n_channels, 3), and the species' sums of velocities (n, n_species, 3).

        Raises
        ------
        InputError
            A wrong shape, or no time step.
        """
        samples = flux_samples(np.asarray(flux), dt=dt, by="total")
        n_samples = len(samples.values)
        species = np.zeros((n_samples, 0, 3)) if velocity is None else np.asarray(velocity, dtype=np.float64)
        if species.ndim != 3 or species.shape[0] != n_samples or species.shape[2] != 3:
            raise InputError(
                f"velocity has the shape {species.shape}, expected ({n_samples}, n_species, 3), the flux's frames"
            )
        return cls(
            lambda start, stop: (samples.values[start:stop], species[start:stop]),
            n_samples,
            samples.time_step,
            samples.labels,
            by_owner=False,
            n_species=species.shape[1],
        )

    @classmethod
    def of_record(cls, record: FluxRecord, *, dt: float | None, velocity: object = None) -> FluxSeries:
        """Take what another code wrote.

        Raises
        ------
        InputError
            There is no time step.
        """
        dt = record.dt if dt is None else dt
        if len(record.samples) < 2:
            raise InputError(f"this {record.format} holds {len(record.samples)} sample, a conductivity needs many")
        if dt is None:
            raise InputError(
                f"this {record.format} does not tell the time between its samples: give dt= in ps, or timestep= per MD "
                "step where it counts steps"
            )
        mass_flux = None if record.velocity is None else scaled(record.velocity, record.total)
        series = cls.of_array(record.samples, dt=dt, velocity=mass_flux if velocity is None else velocity)
        return replace(
            series,
            labels=record.labels,
            volume=None if record.volume is None else np.array([record.volume]),
            temperature=record.observables.get("temperature"),
        )

    @classmethod
    def of_correlator(cls, correlator: Correlator, *, dt: float | None) -> FluxSeries:
        """Take what a correlator knows of the samples that it has seen; they themselves cannot be read.

        Raises
        ------
        InputError
            Its channels are no vectors, or it lacks products that the total needs.
        """
        layout = correlator.layout
        if layout.n_channels % 3:
            raise InputError(
                f"the correlator has {layout.n_channels} channels, expected x, y, z of each part of a flux"
            )
        missing = sorted(set(wanted_pairs("same-xyz", layout.n_channels)) - set(layout.pairs))
        if missing:
            raise InputError(
                f"the correlator lacks the products of channels {missing[0][0]} and {missing[0][1]}, which the total "
                "flux needs: make it with pairs='same-xyz' or 'all'"
            )

        def read(_start: int, _stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            raise InputError("a correlator does not keep the samples that it has seen")

        n = layout.n_channels // 3
        labels = ("total",) if n == 1 else tuple(str(channel) for channel in range(n))
        time_step = layout.time_step if dt is None else float(dt)
        return cls(read, correlator.n_samples, time_step, labels, by_owner=False, n_species=0)


def scaled(velocity: NDArray[np.float64], flux: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mass fluxes of unknown unit, (n, n_species, 3), as large as the flux (n, 3); what is round-off of zero is zero.

    Their scale is free: κ at zero mass flux does not change with it. Left as it comes, a momentum in SI units would be
    taken for round-off.
    """
    power = np.sqrt((velocity**2).mean(axis=(0, 2)))
    moving = power > max(_NOTHING * power.max(initial=0.0), _NOTHING)
    factors = np.where(moving, np.sqrt((flux**2).mean()) / np.where(moving, power, 1.0), 0.0)
    return velocity * factors[:, None]


def _channels(block: xarray.Dataset) -> NDArray[np.float64]:
    """Owner × carrier; convection belongs to its own atom on both sides."""
    matrix = block["potential"].transpose("time", "owner", "carrier", "xyz").values.astype(np.float64)
    diagonal = np.arange(matrix.shape[1])
    matrix[:, diagonal, diagonal] += (block["kinetic"] + block["convective"]).transpose("time", "carrier", "xyz").values
    return matrix.reshape(len(matrix), -1, 3)


def _without_mean_virial(series: FluxSeries, dataset: xarray.Dataset) -> FluxSeries:
    """The flux by carrier less Σ_j ⟨W_j⟩ v_j; the owners' shares of the mean virial are not known."""
    if MEAN_VIRIAL not in dataset:
        raise InputError(
            "this flux holds no mean virial to remove: add it by "
            "fluxan.greenkubo.with_mean_virial(dataset, trajectory, model)"
        )
    n = len(series.labels)

    def read(start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        flux, velocity = series.read(start, stop)
        mean = dataset[MEAN_VIRIAL].isel(time=slice(start, stop)).transpose("time", "carrier", "xyz").values
        return flux.reshape(len(flux), n, n, 3).sum(axis=1) - mean, velocity

    return replace(series, read=read, by_owner=False)
