"""Variational gauge fixing of a series with a known part that is a total time derivative."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from fluxan.errors import InputError
from fluxan.series.gauge_fixing import gauge_fixed
from fluxan.series.heat_flux_series import HeatFluxSeries

N = 20_000
MIX = np.array([[2.0, 0.3, 0.0], [0.1, 1.5, -0.2], [0.0, 0.4, 3.0]])


def bound_motion(rng):
    """Velocities of two species that oscillate about sites: derivatives of bounded displacements."""
    time = 0.02 * np.arange(N)[:, None]
    displacement = sum(
        np.sin(omega * time + phase) / omega
        for omega, phase in zip(rng.uniform(20, 40, 12), rng.uniform(0, 6.28, (12, 3)), strict=True)
    )
    first = np.gradient(displacement, 0.02, axis=0)
    return np.stack([first, -0.7 * first], axis=1)


def heat(rng):
    """A flux that decays in 0.2 ps."""
    decay, noise = np.exp(-0.1), rng.normal(size=(N, 3))
    flux = np.zeros((N, 3))
    for k in range(1, N):
        flux[k] = decay * flux[k - 1] + noise[k]
    return flux


def test_what_the_species_carry_is_removed():
    rng = np.random.default_rng(1)
    velocity, flux = bound_motion(rng), heat(rng)
    plain = flux[:, None, :]
    noisy = plain + 5 * (velocity[:, :1] @ MIX)
    series = HeatFluxSeries.of_samples(noisy, 0.02, ("all",), velocity=velocity)
    fixed = gauge_fixed(series)
    assert np.std(fixed.samples - plain) < 0.02 * np.std(noisy - plain)
    # It is the flux of least mean square.
    least = np.mean(fixed.samples**2)
    for scale in (0.99, 1.01):
        assert np.mean((noisy - scale * (noisy - fixed.samples)) ** 2) > least


def test_the_conductivity_is_that_of_the_flux_without_the_noise():
    rng = np.random.default_rng(2)
    velocity, flux = bound_motion(rng), heat(rng)
    noisy = flux + 5 * (velocity[:, 0] @ MIX)
    options = {"dt": 0.02, "volume": 1000.0, "temperature": 300.0}
    expected = fluxan.green_kubo(flux, **options)
    found = fluxan.green_kubo(noisy, velocity=velocity, components="single", remove="variational", **options)
    assert found.kappa == pytest.approx(expected.kappa, abs=found.error)


def test_velocities_are_needed():
    with pytest.raises(InputError, match="needs the sums of velocities of the species"):
        fluxan.green_kubo(np.ones((100, 3)), dt=0.1, volume=1.0, temperature=1.0, remove="variational")
