"""The record that every reader of a flux file gives, and what a user may say about a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class FluxRecord:
    """A heat flux at equal times.

    Attributes
    ----------
    samples : (n, n_channels, 3), volume-extensive: eV Å/ps, or reduced units where ``units`` is "lj"
    dt : time between samples, ps or reduced; None where the file does not say and the user did not
    labels : name of each channel; channels add up to the total flux
    units : "metal" or "lj"
    volume : Å³ or reduced, mean over the run; None where unknown
    temperature : K or reduced, mean over the run; None where unknown
    format : what the file is
    observables : what else the file tells per sample, each (n,): "temperature", "energy"
    velocity : (n, n_species, 3) the species' mass fluxes, momenta or sums of velocities, of any unit; None where the
        file has none
    species : name of each
    notes : what the reader decided that a user may want to know, one sentence each
    warnings : what speaks against the file, one sentence each
    """

    samples: np.ndarray
    dt: float | None
    labels: tuple[str, ...]
    units: str = "metal"
    volume: float | None = None
    temperature: float | None = None
    format: str = "array"
    observables: Mapping[str, np.ndarray] = field(default_factory=dict)
    velocity: np.ndarray | None = None
    species: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def total(self) -> np.ndarray:
        """Sum over channels, (n, 3)."""
        return self.samples.sum(axis=1)


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about a flux file that the file does not say; see `fluxan.fluxfiles.read_flux`."""

    columns: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    units: str | None = None
    dt: float | None = None
    timestep: float | None = None
    volume: float | None = None
    temperature: float | None = None
    density: bool | None = None
    run: int | None = None
    quantities: Sequence[str] | None = None
    mass_flux: Sequence[str] | None = None
    per_atom: bool | None = None
    until_crash: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        for name in ("dt", "timestep", "volume", "temperature"):
            value = getattr(self, name)
            if value is not None and not (np.isreal(value) and 0 < value < np.inf):
                raise InputError(f"{name} is {value!r}, expected a positive number")
