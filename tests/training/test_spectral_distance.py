"""Distances of spectra whose ratio is known."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.errors import InputError
from fluxan.training.spectral_distance import spectral_distance

BANDS = {"low": (0.0, 5.0), "high": (5.0, 20.0)}


def flux(seed=0):
    return np.random.default_rng(seed).normal(size=(4000, 2, 3))


def filtered(series, factor):
    """The series with its part above 5 THz multiplied."""
    transform = np.fft.rfft(series, axis=0)
    transform[np.fft.rfftfreq(len(series), 0.02) >= 5.0] *= factor
    return np.fft.irfft(transform, n=len(series), axis=0)


def test_a_known_ratio_in_one_band():
    reference = flux()
    changed = reference.copy()
    changed[:, 1] = filtered(reference[:, 1], 1.5)
    found = spectral_distance(changed, reference, time_step=0.02, bands=BANDS, labels=("Ag", "I"))
    assert found["Ag"] == {"low": 0.0, "high": 0.0}
    assert found["I"]["high"] == pytest.approx(1.5**2 - 1, rel=0.01)
    assert found["I"]["low"] < 0.05


def test_refused():
    with pytest.raises(InputError, match="expected one trajectory's"):
        spectral_distance(flux(), flux()[:-1], time_step=0.02, bands=BANDS, labels=("Ag", "I"))
    with pytest.raises(InputError, match="the band far holds no frequency; they run to 25 THz"):
        spectral_distance(flux(), flux(), time_step=0.02, bands={"far": (30.0, 40.0)}, labels=("Ag", "I"))
