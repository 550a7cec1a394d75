"""The figure of a spectral heat current shows its curves, errors and integral."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from fluxan.correlation.virial_velocity import VirialVelocityCorrelator
from fluxan.greenkubo.spectral_conductivity import spectral_conductivity, virial_velocity_spectrum


def correlator(n, n_groups=2):
    rng = np.random.default_rng(0)
    found = VirialVelocityCorrelator(np.arange(2) % n_groups, max_lag=30, time_step=0.01)
    u, v = rng.normal(size=(2, n, 2, 3))
    found.update(u, u + v)
    return found


def test_curves_are_those_of_the_result(tmp_path):
    result = spectral_conductivity(
        correlator(2000), volume=1e3, temperature=300.0, driving_force=1e-3, labels=["Ar", "Kr"]
    )
    figure = fluxan.plot(result)
    upper, lower = figure.axes
    for axes, total, parts in (
        (upper, result.spectrum, result.by_carrier),
        (lower, result.cumulative, result.cumulative_by_carrier),
    ):
        curves = {drawn.get_label(): drawn for drawn in axes.lines}
        np.testing.assert_array_equal(curves["total"].get_ydata(), total.value)
        for label in ("Ar", "Kr"):
            np.testing.assert_array_equal(curves[label].get_ydata(), parts[label].value)
        (band,) = axes.collections
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.max() == pytest.approx((total.value + total.error).max())
    assert "THz" in upper.get_ylabel()
    assert upper.get_title().startswith("κ = ")
    assert f"resolution 3.33 THz, {result.n_blocks} blocks" in upper.get_title()
    figure.savefig(tmp_path / "spectral.png")


def test_one_carrier_without_errors():
    figure = fluxan.plot(virial_velocity_spectrum(correlator(100, n_groups=1)))
    upper, lower = figure.axes
    assert not upper.collections
    assert [drawn.get_label() for drawn in lower.lines if not drawn.get_label().startswith("_")] == ["total"]
    assert "K(0) = " in upper.get_title()
