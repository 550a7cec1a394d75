"""Conductivity along x, y and z: when they count as one, and what is said where they do not."""

from __future__ import annotations

import numpy as np
import pytest

import fluxan
from fluxan.greenkubo.diagnostics import direction_warnings
from fluxan.greenkubo.directions import Directions, isotropy_probability
from tests.exact_series import SERIES

LJ = {"dt": 1.0, "volume": 1.0, "temperature": 1.0, "units": "lj"}


def sample(name, seed, n=20_000):
    return SERIES[name].sample(n, rng=np.random.default_rng([4, seed, *name.encode()]))


@pytest.mark.parametrize("name", ["B", "one mode", "resonances"])
def test_an_isotropic_flux_is_one(name):
    results = [fluxan.green_kubo(sample(name, k), compare=(), **LJ) for k in range(15)]
    assert all(result.isotropic for result in results)
    assert not any("direction" in warning for result in results for warning in result.warnings)
    # The diagonal of the tensor is a third of κ each on average.
    assert sum(r.directions.mean()[0] for r in results) == pytest.approx(sum(r.kappa for r in results), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        ("B", (1.0, 1.0, 0.1)),  # layers: a tenth across
        ("one mode", (1.0, 0.3, 0.05)),  # three different axes
        ("one mode", (0.02, 0.02, 1.0)),  # chains
        ("white", (1.0, 1.0, 1e-5)),  # a sheet, next to nothing across
    ],
)
def test_different_directions_are_estimated_each_by_itself(name, scales):
    exact = SERIES[name].integral * np.array(scales)
    apart = []
    for seed in range(12):
        result = fluxan.green_kubo(sample(name, seed) * np.sqrt(scales), compare=(), **LJ)
        assert not result.isotropic
        assert any("no direction" in warning for warning in result.warnings)
        assert result.kappa == pytest.approx(np.diag(result.tensor).mean(), rel=1e-12)
        apart.append((result.directions.value - exact) / result.directions.error)
    # The error of each covers, and is that of one component, not of three.
    assert 0.5 < (np.abs(apart) < 1).mean() < 0.95
    assert (np.abs(apart) < 2).mean() > 0.85


def test_two_equal_axes_are_a_plane():
    result = fluxan.green_kubo(sample("one mode", 1) * np.sqrt([1, 1, 0.05]), compare=(), **LJ)
    assert result.directions.plane == (0, 1)
    mean, error = result.directions.mean(0, 1)
    assert mean == pytest.approx(SERIES["one mode"].integral, abs=3 * error)
    assert error < max(result.directions.error[:2])


def test_an_axis_with_another_spectrum_is_right():
    """Across layers the heat relaxes much faster than along them: shares of one spectrum would not tell."""
    flux = sample("one mode", 2, 60_000)
    flux[:, 2] = 0.2 * sample("white", 3, 60_000)[:, 2]
    result = fluxan.green_kubo(flux, compare=(), **LJ)
    assert not result.isotropic
    expected = 0.04 * SERIES["white"].integral
    assert result.directions.value[2] == pytest.approx(expected, abs=3 * result.directions.error[2])
    assert result.directions.error[2] < 0.2 * expected


def test_parts_add_up_where_directions_differ():
    flux = sample("B", 5) * np.sqrt([1, 1, 0.1])
    noise = 0.3 * np.random.default_rng(2).standard_normal(flux.shape)
    result = fluxan.green_kubo(np.stack([0.4 * flux + noise, 0.6 * flux - noise], axis=1), **LJ)
    assert not result.isotropic
    assert result.by_carrier.sum() == pytest.approx(result.kappa, rel=1e-12)
    assert result.estimates["default"].value == result.kappa
    assert set(result.estimates) == {"default", "cepstral", "running"}


def test_a_mixture_that_is_anisotropic():
    """At zero mass flux each axis is projected by itself."""
    rng = np.random.default_rng(7)
    heat = sample("one mode", 6) * np.sqrt([1, 1, 0.1])
    mass = SERIES["white"].sample(20_000, rng=rng)
    result = fluxan.green_kubo(heat + 2 * mass, velocity=mass[:, None, :], components="multi", **LJ)
    exact = SERIES["one mode"].integral * np.array([1, 1, 0.1])
    assert result.components == "multi"
    assert not result.isotropic
    assert (np.abs(result.directions.value - exact) < 3 * result.directions.error).all()


def test_a_correlator_resolves_directions():
    correlator = fluxan.Correlator(3, max_lag=1024, pairs="same-xyz")
    correlator.update(sample("one mode", 8, 60_000) * np.sqrt([1, 1, 0.01]))
    layered = fluxan.green_kubo(correlator, volume=1.0, temperature=1.0, units="lj")
    assert not layered.isotropic
    correlator = fluxan.Correlator(3, max_lag=1024, pairs="same-xyz")
    correlator.update(sample("one mode", 8, 60_000))
    assert fluxan.green_kubo(correlator, volume=1.0, temperature=1.0, units="lj").isotropic


@pytest.mark.parametrize(
    ("value", "error", "dof", "isotropic"),
    [
        ([1.0, 1.1, 0.9], [0.1, 0.1, 0.1], None, True),
        ([1.0, 1.1, 0.3], [0.1, 0.1, 0.1], None, False),
        ([1.0, 1.1, 0.3], [0.1, 0.1, 0.1], 2, True),  # errors from two runs: chance may do that
        ([2900.0, 2700.0, 0.03], [500.0, 300.0, np.nan], 2, False),
        ([2900.0, 2700.0, 0.03], [500.0, 300.0, 0.001], 2, False),
        ([1.0, 1.0, 0.2], [np.nan] * 3, None, False),
        ([1.0, 1.3, 0.8], [np.nan] * 3, None, True),
        ([1.0, 1.0, 1.0], [0.0] * 3, None, True),
        ([1.0, 1.0, 0.0], [0.1, 0.1, 0.0], None, False),
    ],
)
def test_criteria_for_different_directions(value, error, dof, isotropic):
    directions = Directions(np.array(value), np.array(error), dof=dof)
    assert directions.isotropic == isotropic
    assert bool(list(direction_warnings(directions, "W/(m K)"))) == (not isotropic)


def test_copies_do_not_reduce_the_error_of_a_mean():
    covariance = np.full((3, 3), 0.04)
    directions = Directions(np.ones(3), np.full(3, 0.2), covariance)
    assert directions.mean() == (1.0, pytest.approx(0.2))
    assert Directions(np.ones(3), np.full(3, 0.2)).mean()[1] == pytest.approx(0.2 / np.sqrt(3))
    assert np.isnan(Directions(np.ones(3), np.array([0.2, 0.2, np.nan])).mean()[1])


def test_isotropy_probability_is_uniform_for_equal_spectra():
    rng = np.random.default_rng(3)
    dof = np.full(20, 32.0)
    chances = [isotropy_probability(rng.chisquare(dof, (3, 20)) / dof, dof) for _ in range(400)]
    assert np.mean(chances) == pytest.approx(0.5, abs=0.1)
    assert isotropy_probability(np.array([[1.0], [1.0], [0.0]]), np.array([32.0])) == 0
