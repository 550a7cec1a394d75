"""Variables of a flux Dataset, and how the fluxes of frames become its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.system import Flux

SCHEMA = "fluxan flux 1"

#: Dimensions, unit and meaning of each variable, in the order they are written.
VARIABLES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "potential": (("time", "owner", "carrier", "xyz"), "eV angstrom/ps", "virial flux, owner of the energy x carrier"),
    "kinetic": (("time", "carrier", "xyz"), "eV angstrom/ps", "convection of kinetic energy"),
    "convective": (("time", "carrier", "xyz"), "eV angstrom/ps", "convection of potential energy"),
    "velocity": (("time", "carrier", "xyz"), "angstrom/ps", "sum of velocities"),
    "volume": (("time",), "angstrom3", "volume of the cell; missing for a cluster"),
    "temperature": (("time",), "K", "kinetic temperature"),
    "potential_energy": (("time",), "eV", "sum of atomic energies"),
    "frame_sha256": (("time",), "1", "first 64 bits of the SHA-256 of the frame as read; resuming compares it"),
    "time": (("time",), "ps", "time"),
}
INTEGER = ("frame_sha256",)
#: The variable that `fluxan.with_mean_virial` adds: Σ_j ⟨W_j⟩ v_j by carrier.
MEAN_VIRIAL = "mean_virial"


@dataclass(frozen=True, slots=True)
class FrameFlux:
    """The flux of one frame, with time, volume, temperature and hash of the frame.

    Attributes
    ----------
    flux : Flux
        Flux by owner and carrier.
    time : float
        Time of the frame, ps.
    volume : float
        Volume of the cell, Å³; NaN for a cluster.
    temperature : float
        Kinetic temperature, K.
    sha256 : int
        First 64 bits of the SHA-256 of the frame.
    """

    flux: Flux
    time: float
    volume: float
    temperature: float
    sha256: int

    def values(self) -> dict[str, object]:
        """Every variable of `VARIABLES` by name."""
        flux = self.flux
        parts = {name: getattr(flux, name) for name in ("potential", "kinetic", "convective", "velocity")}
        whole = {"volume": self.volume, "temperature": self.temperature, "potential_energy": flux.potential_energy}
        return parts | whole | {"frame_sha256": self.sha256, "time": self.time}


def stack(entries: Sequence[FrameFlux], labels: Sequence[str]) -> dict[str, np.ndarray]:
    """Fluxes of consecutive frames as one array per variable, time first."""
    sizes = {"owner": len(labels), "carrier": len(labels), "xyz": 3}
    columns = [entry.values() for entry in entries]
    return {
        name: np.array([c[name] for c in columns], dtype=dtype_of(name)).reshape(-1, *(sizes[d] for d in dims[1:]))
        for name, (dims, _, _) in VARIABLES.items()
    }


def dtype_of(name: str) -> type:
    """Type in which a variable is stored."""
    return np.int64 if name in INTEGER else np.float64
