"""Plausibility of a flux: no blow-up, and a temperature and volume that fit its units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Multiples of the median |J| (and of the median temperature) that no run in equilibrium reaches: |J| of a Gaussian
#: flux passes six medians once in 10¹⁴ samples. Values of a blow-up grow by orders of magnitude a sample.
BLOWN_UP: Final = 50.0
#: Multiple of the median beyond which a flux is questioned: more than chance gives, less than a blow-up.
_OUTLIER: Final = 10.0
#: Multiple of the median above which the samples just before a blow-up count as part of it.
_BEGINS: Final = 5.0
#: Temperatures, K and reduced, beyond which units are more likely wrong than right.
_PLAUSIBLE: Final = {"metal": (2.0, 2e4), "lj": (1e-3, 50.0)}
#: Volumes of a cell, Å³, below which a unit is more likely wrong than right: primitive cells have 11 and more.
_SMALLEST: Final = 11.0
#: Fraction by which a given volume may differ from the file's without a warning.
_VOLUMES: Final = 0.01
#: Ratio of the given temperature to the file's, or its inverse, at which a warning is raised.
_MAX_RATIO: Final = 1.2


def blow_up(samples: np.ndarray, others: Mapping[str, np.ndarray]) -> tuple[int, float, str] | None:
    """First sample of a blow-up at the end of a run.

    Parameters
    ----------
    samples : (n, n_channels, 3) array
        Heat flux.
    others : mapping
        Further columns, of which "temperature" is examined.

    Returns
    -------
    tuple of (int, float, str) or None
        Its index, the largest value as a multiple of the median, and the quantity; None where there is no blow-up.
    """
    found = [
        _first(values, name)
        for name, values in (
            ("the flux", np.sqrt((samples.sum(axis=1) ** 2).sum(axis=1))),
            ("the temperature", np.abs(others.get("temperature", np.empty(0)))),
        )
    ]
    return min((one for one in found if one is not None), default=None)


def outliers(samples: np.ndarray) -> Iterator[str]:
    """Warn of a flux (n, n_channels, 3) that gets larger than chance allows, though it did not blow up."""
    found = _first(np.sqrt((samples.sum(axis=1) ** 2).sum(axis=1)), "the flux", _OUTLIER)
    if found is not None and found[1] <= BLOWN_UP:
        yield (
            f"the flux gets {found[1]:.2g} times as large as its median from sample {found[0]} (of {len(samples)}) on, "
            f"chance gives {_BEGINS:.0f} times: did the run change there?"
        )


def _first(values: np.ndarray, name: str, times: float = BLOWN_UP) -> tuple[int, float, str] | None:
    if not len(values):
        return None
    median = float(np.median(values))
    beyond = np.flatnonzero(values > times * median) if median > 0 else np.empty(0, dtype=np.int64)
    if not len(beyond):
        return None
    calm = np.flatnonzero(values[: beyond[0]] < _BEGINS * median)
    return int(calm[-1]) + 1 if len(calm) else 0, float(values.max() / median), name


def questions(
    units: str, temperature: float | None, file_temperature: float | None = None, volume: float | None = None
) -> Iterator[str]:
    """Warnings where a flux's temperature and volume contradict its units, or the file.

    Parameters
    ----------
    units : str
        "metal" (K) or "lj".
    temperature : float or None
        The temperature that is used.
    file_temperature : float, optional
        The file's own, where it has one.
    volume : float, optional
        The volume that is used.
    """
    low, high = _PLAUSIBLE[units]
    word = " K" if units == "metal" else " in reduced units"
    if temperature is not None and not low <= temperature <= high:
        yield f"the temperature is {temperature:.3g}{word}: is units= right?"
    if temperature is not None and file_temperature is not None:
        ratio = temperature / file_temperature if file_temperature > 0 else np.inf
        if not 1 / _MAX_RATIO < ratio < _MAX_RATIO:
            yield f"temperature={temperature:.4g} was given, but the file says {file_temperature:.4g}{word}"
    if units == "metal" and volume is not None and volume < _SMALLEST:
        yield f"the volume is {volume:.3g} Å³, that of an atom or two: is it in another unit?"


def another_volume(given: float | None, measured: float | None) -> Iterator[str]:
    """Warn of a given volume that is not the file's, as may be right for a sheet."""
    if given is not None and measured is not None and abs(given / measured - 1) > _VOLUMES:
        yield f"volume={given:.6g} was given; the file says {measured:.6g}"
