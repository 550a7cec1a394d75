"""Contribution of each part of the heat flux to its mean square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

#: Frames that are read from a flux file at once.
BLOCK = 100_000


@dataclass(frozen=True, slots=True)
class Contribution:
    """One part of the flux.

    Attributes
    ----------
    part : str
        "potential", "kinetic" or "convective".
    owner, carrier : str
        Labels of groups; owner is "" for the kinetic and convective parts, which have none.
    mean_square : float
        ⟨J_part²⟩, (eV Å/ps)².
    share : float
        ⟨J_part · J⟩ / ⟨J²⟩; over all parts they add up to 1.
    """

    part: str
    owner: str
    carrier: str
    mean_square: float
    share: float


def contributions(dataset: xarray.Dataset) -> list[Contribution]:
    """Mean square of every part of a flux, and its contribution to that of the total.

    Parameters
    ----------
    dataset : xarray.Dataset
        From `fluxan.decompose`; read in blocks.

    Returns
    -------
    list of Contribution
        Potential parts by owner and carrier, then kinetic and convective parts by carrier.
    """
    names = [str(label) for label in dataset["carrier"].values]
    keys = [("potential", a, b) for a in names for b in names]
    keys += [(part, "", b) for part in ("kinetic", "convective") for b in names]
    squares, products = np.zeros(len(keys)), np.zeros(len(keys))
    total_square, n_frames = 0.0, dataset.sizes["time"]
    for start in range(0, n_frames, BLOCK):
        block = dataset.isel(time=slice(start, start + BLOCK))
        parts = _parts(block)
        total = parts.sum(axis=1)
        squares += np.einsum("tpx,tpx->p", parts, parts)
        products += np.einsum("tpx,tx->p", parts, total)
        total_square += float(np.einsum("tx,tx->", total, total))
    shares = products / total_square if total_square else np.zeros(len(keys))
    return [
        Contribution(*key, mean_square=float(square / max(n_frames, 1)), share=float(share))
        for key, square, share in zip(keys, squares, shares, strict=True)
    ]


def _parts(block: xarray.Dataset) -> np.ndarray:
    """All parts of the flux, (n_frames, n_parts, 3)."""
    n_frames = block.sizes["time"]
    arrays = [block[name].values.reshape(n_frames, -1, 3) for name in ("potential", "kinetic", "convective")]
    return np.concatenate(arrays, axis=1)
