"""Settings of a correlator: channels, lags, scheme, and pairs of channels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fluxan.kernels.correlation_cpu import Pairs

#: Number of blocks from which errors are estimated; when all are full, they are merged in pairs, which leaves half.
N_BLOCKS = 16
#: Samples that a multi-tau level sums at once: the products of one pair then fit into the first-level cache.
CHUNK = 1024
#: Smallest number of samples that the linear scheme transforms at once; blocks for errors cannot be shorter.
BATCH = 16384
#: The linear scheme's shortest segment; shorter transforms are slower per sample.
MIN_SEGMENT = 1024


@dataclass(frozen=True)
class Family:
    """Channels that are correlated with one another; processed together, so that their spectra stay in the cache."""

    channels: tuple[int, ...]
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray]  # positions in `channels` of a and of b, index of the pair
    spectral_pairs: tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class CorrelatorLayout:
    """Settings that two correlators must share to be combined.

    Attributes
    ----------
    scheme : str
        "linear" or "multitau".
    n_channels : int
        Channels per sample.
    max_lag : int
        Longest lag, in samples.
    pairs : tuple of (int, int)
        Channels a and b of each C_ab.
    time_step : float
        Sampling interval, ps.
    points_per_level : int
        Every multi-tau level has the lags 0 … points_per_level - 1.
    segment : int
        Samples per segment of the linear scheme.
    """

    scheme: str
    n_channels: int
    max_lag: int
    pairs: tuple[tuple[int, int], ...]
    time_step: float
    points_per_level: int
    segment: int

    def facts(self) -> dict[str, str]:
        """Settings as text, by name, for display."""
        return {
            "scheme": self.scheme,
            "channels": str(self.n_channels),
            "pairs": str(len(self.pairs)),
            "max_lag": f"{self.max_lag} samples ({self.max_lag * self.time_step:.4g} ps)",
            "time_step": f"{self.time_step:g} ps",
        }

    @property
    def n_levels(self) -> int:
        """Number of levels with which the coarsest reaches `max_lag`; one for the linear scheme."""
        if self.scheme == "linear":
            return 1
        n_levels = 1
        while (self.points_per_level - 1) << (n_levels - 1) < self.max_lag:
            n_levels += 1
        return n_levels

    @property
    def n_lags(self) -> int:
        """Number of lags of each level."""
        return self.max_lag + 1 if self.scheme == "linear" else self.points_per_level

    @property
    def batch(self) -> int:
        """Number of segments that the linear scheme transforms at once, even."""
        return 2 * max(1, BATCH // (2 * self.segment))

    @cached_property
    def first(self) -> np.ndarray:
        """Channel a of each pair, (n_pairs,)."""
        return np.array([a for a, _ in self.pairs], dtype=np.int64)

    @cached_property
    def second(self) -> np.ndarray:
        """Channel b of each pair, (n_pairs,)."""
        return np.array([b for _, b in self.pairs], dtype=np.int64)

    @cached_property
    def plan(self) -> Pairs:
        """Pairs as arguments of the kernels."""
        return tiled(self.pairs)

    @cached_property
    def spectral_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs with a ≤ b: the cross-spectra of (b, a) are their conjugates."""
        return tuple(sorted({(min(pair), max(pair)) for pair in self.pairs}))

    @cached_property
    def spectral_channels(self) -> tuple[np.ndarray, np.ndarray]:
        """Channels a and b of `spectral_pairs`."""
        a, b = np.array(self.spectral_pairs, dtype=np.int64).T
        return a.copy(), b.copy()

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """Connected components of the graph whose nodes are channels and whose edges are pairs."""
        families: list[set[int]] = []
        for pair in self.pairs:
            touched = [family for family in families if family & set(pair)]
            families = [family for family in families if family not in touched]
            families.append(set(pair).union(*touched))
        return tuple(
            Family(tuple(sorted(family)), _local(self.pairs, family), _local(self.spectral_pairs, family))
            for family in families
        )

    def square(self, values: np.ndarray, *, spectral: bool = False) -> np.ndarray:
        """Values (..., n_pairs) as matrices (..., n_channels, n_channels), NaN for pairs not computed."""
        a, b = self.spectral_channels if spectral else (self.first, self.second)
        square = np.full((*values.shape[:-1], self.n_channels, self.n_channels), np.nan, dtype=values.dtype)
        square[..., a, b] = values
        if spectral:
            square[..., b, a] = values.conj()
        return square

    def difference(self, other: CorrelatorLayout) -> str | None:
        """Name and values of the first setting that differs; None if all are equal."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine != theirs:
                shown = "other pairs" if field.name == "pairs" else f"{mine!r} and {theirs!r}"
                return f"{field.name} differs: {shown}"
        return None


def make_layout(
    n_channels: int,
    *,
    max_lag: int,
    scheme: str,
    pairs: str | Iterable[tuple[int, int]],
    time_step: float,
    points_per_level: int,
    segment: int | None,
) -> CorrelatorLayout:
    """Check the settings (see `Correlator`), and round `points_per_level` and `segment` up.

    Raises
    ------
    InputError
        A setting has an invalid value.
    """
    if scheme not in ("linear", "multitau"):
        raise InputError(f"scheme is {scheme!r}, expected 'linear' or 'multitau'")
    _require_whole("n_channels", n_channels, 1)
    _require_whole("max_lag", max_lag, 1)
    _require_whole("points_per_level", points_per_level, 8)
    if not (np.isfinite(time_step) and time_step > 0):
        raise InputError(f"time_step is {time_step!r}, expected a positive time in ps")
    if segment is not None:
        _require_whole("segment", segment, max(2, max_lag))
    return CorrelatorLayout(
        scheme=scheme,
        n_channels=int(n_channels),
        max_lag=int(max_lag),
        pairs=wanted_pairs(pairs, int(n_channels)),
        time_step=float(time_step),
        points_per_level=-(-int(points_per_level) // 8) * 8,
        segment=_segment(max(max_lag, MIN_SEGMENT) if segment is None else int(segment)),
    )


def wanted_pairs(pairs: str | Iterable[tuple[int, int]], n_channels: int) -> tuple[tuple[int, int], ...]:
    """List the pairs of channels that a user's setting names.

    Parameters
    ----------
    pairs : str or list of (int, int)
        "all", "auto" (a = b), "same-xyz" (equal components; channels are vectors, x, y, z fastest), or the pairs.
    n_channels : int
        Channels per sample.

    Raises
    ------
    InputError
        An unknown string, a channel that does not exist, a pair named twice, or no pair.
    """
    channels = range(n_channels)
    if isinstance(pairs, str):
        if pairs == "same-xyz" and n_channels % 3:
            raise InputError(f"pairs='same-xyz' needs a multiple of 3 channels, got {n_channels}")
        keep = {"all": lambda _a, _b: True, "auto": lambda a, b: a == b, "same-xyz": lambda a, b: a % 3 == b % 3}
        if pairs not in keep:
            raise InputError(f"pairs is {pairs!r}, expected 'all', 'auto', 'same-xyz' or a list of pairs of channels")
        return tuple((a, b) for a, b in product(channels, channels) if keep[pairs](a, b))
    try:
        chosen = tuple((int(a), int(b)) for a, b in pairs)
    except (TypeError, ValueError) as error:
        raise InputError(f"pairs must be a word or a list of pairs of channels: {error}") from error
    for pair in chosen:
        if not all(channel in channels for channel in pair):
            raise InputError(f"pairs names {pair}, channels are 0 to {n_channels - 1}")
    twice = [pair for pair, times in Counter(chosen).items() if times > 1]
    if twice or not chosen:
        raise InputError(f"pairs names {twice[0]} twice" if twice else "pairs is empty: name at least one pair")
    return chosen


def tiled(pairs: tuple[tuple[int, int], ...]) -> Pairs:
    """Combine pairs into tiles of 4 × 4 channels, all of whose products are wanted; other pairs stay single."""
    from fluxan.kernels.correlation_cpu import TILE, Pairs

    # Channels a with the same partners b form the rows of tiles, and these partners the columns.
    number = {pair: q for q, pair in enumerate(pairs)}
    partners: dict[tuple[int, ...], list[int]] = {}
    for a in sorted({a for a, _ in pairs}):
        partners.setdefault(tuple(sorted(b for x, b in pairs if x == a)), []).append(a)
    tile_channels, tile_pairs = [], []
    for seconds, firsts in partners.items():
        for rows, columns in product(_whole_tiles(firsts, TILE), _whole_tiles(seconds, TILE)):
            tile_channels.append([*rows, *columns])
            tile_pairs.append([number[pair] for pair in product(rows, columns)])
    covered = {q for tile in tile_pairs for q in tile}
    return Pairs(
        np.array([a for a, _ in pairs], dtype=np.int64),
        np.array([b for _, b in pairs], dtype=np.int64),
        np.array(tile_channels, dtype=np.int64).reshape(-1, 2 * TILE),
        np.array(tile_pairs, dtype=np.int64).reshape(-1, TILE * TILE),
        np.array([q for q in range(len(pairs)) if q not in covered], dtype=np.int64),
    )


def _local(pairs: Sequence[tuple[int, int]], family: set[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    position = {channel: i for i, channel in enumerate(sorted(family))}
    rows = [(position[a], position[b], q) for q, (a, b) in enumerate(pairs) if a in position]
    first, second, number = np.array(rows, dtype=np.int64).T.copy()
    return first, second, number


def _whole_tiles(channels: Sequence[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(channels[i : i + size]) for i in range(0, len(channels) - size + 1, size)]


def _segment(at_least: int) -> int:
    """Round up to an even length whose transform is fast."""
    from scipy.fft import next_fast_len

    return 2 * int(next_fast_len(-(-at_least // 2), real=True))


def _require_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name} is {value!r}, expected a whole number of at least {least}")
