"""The default estimator on spectra as real materials have them; exact answers, fixed seeds, room for the scatter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fluxan.greenkubo import green_kubo
from fluxan.greenkubo.estimators.mixture import mixture
from tests.exact_series import SERIES, SHAPES, Shape, periodogram

if TYPE_CHECKING:
    from fluxan.greenkubo.estimators.estimate import Estimate

REALISATIONS = 25


def _estimates(name: str, **options: object) -> tuple[list[Estimate], np.ndarray, np.ndarray]:
    """Estimates of one shape, their errors off the exact value, and their stated ones, both over it."""
    shape = SHAPES[name]
    found = []
    for k in range(REALISATIONS):
        f, density, dof = periodogram(shape.sample(shape.length, rng=np.random.default_rng([k, *name.encode()])))
        found.append(mixture(f, density, dof=dof, **options))
    exact = 2 * shape.integral
    return found, np.array([e.value for e in found]) / exact - 1, np.array([e.error for e in found]) / exact


COVERED = ["glass", "glass, short run", "molten salt", "superionic", "water", "below a sample", "anticorrelated"]
COVERED += ["crystal, strong optical lines", "cusp f"]


@pytest.mark.parametrize("name", COVERED)
def test_errors_cover_on_real_shapes(name: str) -> None:
    """Of 25 with 68 and 95 %, fewer than 12 within one and 20 within two standard deviations are one in 50 and 100."""
    _, off, error = _estimates(name)
    assert np.count_nonzero(np.abs(off) < error) >= 12
    assert np.count_nonzero(np.abs(off) < 2 * error) >= 20
    assert abs(off.mean()) < 0.9 * off.std()


@pytest.mark.parametrize("name", ["glass", "anticorrelated"])
def test_modes_alone_are_wrong_where_they_do_not_describe_the_spectrum(name: str) -> None:
    """What the mixture is for: modes bridge a rise by a flat floor and are sure of it."""
    _, off, error = _estimates(name, members=("modes",))
    assert np.count_nonzero(np.abs(off) < 2 * error) <= 12
    assert off.mean() > 2 * off.std()


def test_spectra_of_few_modes_give_the_modes_the_weight() -> None:
    series = SERIES["C"]
    f, density, dof = periodogram(series.sample(100_000, rng=np.random.default_rng(3)))
    both = mixture(f, density, dof=dof)
    modes = mixture(f, density, dof=dof, members=("modes",))
    assert both.details["smooth"] < 0.05
    assert both.value == pytest.approx(modes.value, rel=0.02)


def _warned(shape: Shape, word: str, seed: int) -> bool:
    samples = shape.sample(shape.length, rng=np.random.default_rng(seed))
    result = green_kubo(samples, dt=0.01, volume=1000.0, temperature=300.0, compare=())
    return any(word in warning for warning in result.warnings)


def test_a_cusp_is_warned_of() -> None:
    assert sum(_warned(SHAPES["cusp √f"], "cusp", seed) for seed in range(10)) >= 8


def test_a_plain_relaxation_has_no_cusp() -> None:
    relaxation = Shape(SERIES["one mode"].spectrum, 100_000)
    assert not any(_warned(relaxation, "cusp", seed) for seed in range(10))


def test_ordinates_that_no_member_describes_are_warned_of() -> None:
    """White noise with a slow oscillation at two frequencies of the run, as a drive or a thermostat makes."""
    samples = Shape(np.ones_like, 20_000).sample(20_000, rng=np.random.default_rng(5))
    transformed = np.fft.rfft(samples, axis=0)
    transformed[16:18] *= 5
    state = {"dt": 0.01, "volume": 1000.0, "temperature": 300.0, "compare": ()}
    driven = green_kubo(np.fft.irfft(transformed, axis=0), **state)
    assert any("any member" in warning for warning in driven.warnings)
    assert not any("any member" in warning for warning in green_kubo(samples, **state).warnings)
