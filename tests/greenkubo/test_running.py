"""The running integral with first-dip cutoff."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.errors import InputError
from fluxan.greenkubo.running import running_integral


def test_integral_of_a_line_is_its_triangle() -> None:
    """C(t) = 1 − t/10 up to its zero at t = 10: twice the integral is 10."""
    estimate = running_integral(1 - np.arange(20) / 10, length=1000, time_step=1.0)
    assert estimate.value == pytest.approx(10.0)
    assert estimate.details["cutoff"] == 10


def test_time_step_scales_value_and_cutoff() -> None:
    estimate = running_integral(1 - np.arange(20) / 10, length=1000, time_step=0.5)
    assert (estimate.value, estimate.details["cutoff"]) == (pytest.approx(5.0), 5.0)


def test_error_is_that_of_a_rectangular_lag_window() -> None:
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((4000, 400))
    values = []
    for column in noise.T:
        c = [column @ column / 4000] + [column[:-lag] @ column[lag:] / 4000 for lag in (1, 2, 3, 4)]
        values.append(c[0] + 2 * sum(c[1:]))
    estimate = running_integral([1, 0.1, 0.1, 0.1, 0.1, -0.8], length=4000, components=1)
    assert estimate.error / estimate.value == pytest.approx(np.std(values), rel=0.25)


@pytest.mark.parametrize(
    ("correlation", "message"),
    [([1.0], "two lags"), ([1.0, np.nan], "finite"), ([0.0, -1.0], "variance"), ([1.0, 0.5, 0.2], "longer max_lag")],
)
def test_bad_input_is_refused(correlation: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        running_integral(correlation, length=100)
