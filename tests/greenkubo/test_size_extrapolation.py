"""The extrapolation to infinite size against closed forms, other fitting routines, and synthetic draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import chi2, f

from fluxan.errors import InputError
from fluxan.greenkubo.size_extrapolation import extrapolate
from fluxan.report.extrapolation_figure import draw_extrapolation

ATOMS = np.array([64, 216, 512, 1000])
X = ATOMS ** (-1 / 3)
VALUES = np.array([1.02, 1.21, 1.29, 1.38])
ERRORS = np.array([0.03, 0.04, 0.05, 0.06])
DRAWS = 2000


def test_two_sizes_by_hand():
    # L of 8 and 10, x = 1/8 and 1/10: κ∞ = (κ₂ L₂ − κ₁ L₁)/(L₂ − L₁).
    found = extrapolate([8, 10], [1.0, 1.1], [0.03, 0.04], of="length")
    assert found.kappa == pytest.approx((11 - 8) / 2, rel=1e-13)
    assert found.error == pytest.approx(np.hypot(10 * 0.04, 8 * 0.03) / 2, rel=1e-13)
    assert found.fit.slope == pytest.approx((1.0 - 1.1) / (1 / 8 - 1 / 10), rel=1e-12)
    assert found.fit.slope_error == pytest.approx(0.05 / (1 / 8 - 1 / 10), rel=1e-12)
    assert found.distance == pytest.approx(0.1 / 0.025)
    assert (found.fit.dof, found.fit.p_value, found.fit.scale) == (0, None, 1)
    assert found.slope_p_value == pytest.approx(chi2.sf((0.1 / 0.05) ** 2, 1))
    assert "nothing checks it" in found.warnings[0]
    inverse = extrapolate([8, 10], [1.0, 1.1], [0.03, 0.04], of="length", law="inverse")
    assert 1 / inverse.kappa == pytest.approx((10 / 1.1 - 8 / 1.0) / 2, rel=1e-13)
    assert found.systematic == pytest.approx(max(inverse.kappa - found.kappa, found.kappa - 1.036), rel=1e-12)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_linear_fit_is_that_of_polyfit(power):
    found = extrapolate(ATOMS[::-1], VALUES[::-1], ERRORS[::-1], power=power)
    (slope, kappa), covariance = np.polyfit(X**power, VALUES, 1, w=1 / ERRORS, cov="unscaled")
    assert found.kappa == pytest.approx(kappa, rel=1e-12)
    assert found.fit.slope == pytest.approx(slope, rel=1e-11)
    np.testing.assert_allclose(found.fit.covariance, covariance[::-1, ::-1], rtol=1e-11)
    squares = (((VALUES - kappa - slope * X**power) / ERRORS) ** 2).sum()
    assert found.fit.chi_squared == pytest.approx(squares, rel=1e-10)
    assert found.fit.p_value == pytest.approx(chi2.sf(squares, 2), rel=1e-10)
    x = np.linspace(0, 0.3, 7)
    value, error = found.fit.curve(x)
    np.testing.assert_allclose(value, kappa + slope * x, rtol=1e-11)
    gradient = np.column_stack([x, np.ones(7)])
    np.testing.assert_allclose(error, np.sqrt(np.einsum("ia,ab,ib->i", gradient, covariance, gradient)), rtol=1e-9)


def test_inverse_and_constant_fits_are_those_of_curve_fit():
    found = extrapolate(ATOMS, VALUES, ERRORS, law="inverse")
    options = {"sigma": ERRORS, "absolute_sigma": True, "ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    (kappa, slope), covariance = curve_fit(
        lambda x, k, c: 1 / (1 / k + c * x), X, VALUES, (2, 1), jac=_slopes_of_inverse, **options
    )
    # MINPACK compares sums of squares, and so stops at the root of the machine's precision; the gradient is sharper.
    assert found.kappa == pytest.approx(kappa, rel=1e-8)
    assert found.fit.slope == pytest.approx(slope, rel=1e-8)
    kappa, slope = found.kappa, found.fit.slope
    columns = _slopes_of_inverse(X, kappa, slope) / ERRORS[:, None]
    residuals = (VALUES - 1 / (1 / kappa + slope * X)) / ERRORS
    assert np.abs(columns.T @ residuals).max() < 1e-11 * np.abs(columns).max()
    assert found.error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-7)
    assert found.fit.slope_error == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-7)
    x = np.array([0.0, X[0]])
    np.testing.assert_allclose(found.fit.curve(x)[0], 1 / (1 / kappa + slope * x), rtol=1e-9)
    assert found.fit.curve([0.0])[1] == pytest.approx(found.error, rel=1e-12)
    low, high = found.fit.interval(2)
    assert (1 / low + 1 / high) / 2 == pytest.approx(1 / kappa, rel=1e-9)
    mean = extrapolate(ATOMS, VALUES, 3 * ERRORS, law="constant")
    assert mean.kappa == pytest.approx(np.average(VALUES, weights=ERRORS**-2), rel=1e-13)
    assert mean.error == pytest.approx(3 * (ERRORS**-2).sum() ** -0.5, rel=1e-13)


def _slopes_of_inverse(x, k, c):
    value = 1 / (1 / k + c * x)
    return np.column_stack([value**2 / k**2, -x * value**2])


def draws(law, slope, *, relative=0.04, number=DRAWS):
    """Values with known errors from a law with κ∞ = 2."""
    line = 2 + slope * X if law == "linear" else 1 / (1 / 2 + slope * X)
    sigma = relative * line * np.array([0.7, 1.0, 1.2, 1.5])
    noise = np.random.default_rng(1).standard_normal((number, len(X)))
    return [extrapolate(ATOMS, line + sigma * z, sigma, law=law) for z in noise]


@pytest.mark.parametrize(
    ("law", "slope", "relative"), [("linear", 0.0, 0.04), ("linear", -3.0, 0.04), ("inverse", 1.0, 0.02)]
)
def test_errors_cover_the_truth(law, slope, relative):
    found = draws(law, slope, relative=relative)
    bounds = [np.array([one.fit.interval(sigmas) for one in found]).T for sigmas in (1, 2)]
    covered = [100 * np.mean((low <= 2) & (high >= 2)) for low, high in bounds]
    assert covered[0] == pytest.approx(68.3, abs=3)
    assert covered[1] == pytest.approx(95.4, abs=2)
    constant = np.mean([one.preferred == "constant" for one in found])
    if slope:
        assert constant == 0
    else:  # Akaike's criterion asks for a gain in χ² of 2.
        assert constant == pytest.approx(chi2.cdf(2, 1), abs=0.03)
        assert np.mean([one.slope_p_value < 0.05 for one in found]) == pytest.approx(0.05, abs=0.015)


def test_taking_the_preferred_law_would_make_the_error_too_small():
    found = draws("linear", -0.6, number=500)
    preferred = [one.laws["constant" if one.preferred == "constant" else "linear"] for one in found]
    assert np.mean([abs(one.kappa - 2) < one.error for one in found]) > 0.65
    assert np.mean([abs(one.kappa - 2) < one.error for one in preferred]) < 0.5


def test_scatter_beyond_the_errors_widens_them():
    values = VALUES + np.array([0.1, -0.2, 0.2, -0.1])
    found = extrapolate(ATOMS, values, ERRORS)
    (_, kappa), covariance = np.polyfit(X, values, 1, w=1 / ERRORS, cov=True)
    assert found.fit.scale == pytest.approx(np.sqrt(found.fit.chi_squared / 2), rel=1e-12)
    assert (found.kappa, found.error) == pytest.approx((kappa, np.sqrt(covariance[1, 1])), rel=1e-11)
    assert "scatter about the linear law more than their errors" in found.warnings[0]
    gain = found.laws["constant"].chi_squared / found.fit.chi_squared - 1
    assert found.slope_p_value == pytest.approx(f.sf(2 * gain, 1, 2), rel=1e-10)


def test_runs_of_one_size_are_averaged():
    runs = extrapolate([64, 216, 216.1, 64], [1.0, 1.3, 1.2, 1.1], [0.1, 0.1, 0.2, 0.1])
    assert runs.points.n_runs.tolist() == [2, 2]
    assert runs.points.values == pytest.approx([1.05, (1.3 + 1.2 / 4) / 1.25], rel=1e-13)
    assert runs.points.errors == pytest.approx([0.1 / np.sqrt(2), 0.1 / np.sqrt(1.25)], rel=1e-13)
    given = extrapolate([64, 216, 216, 64], [1.0, 1.3, 1.2, 1.1], [0.1, 0.1, 0.2, 0.1], weights=[1, 3, 1, 1])
    assert given.points.values == pytest.approx([1.05, (3 * 1.3 + 1.2) / 4], rel=1e-13)
    assert given.points.errors == pytest.approx([0.1 / np.sqrt(2), np.hypot(0.3, 0.2) / 4], rel=1e-13)
    torn = extrapolate([64, 64, 216], [1.0, 2.0, 1.3], [0.1, 0.1, 0.1])
    # χ² = 2·5² for one degree of freedom: the error is half the difference.
    assert torn.points.errors[0] == pytest.approx(0.5, rel=1e-12)
    assert "2 runs of size 64 scatter more" in torn.warnings[0]


def test_errors_in_proportion_to_the_values_do_not_pull_the_mean_down():
    """Twelve runs of each size, each with an error of 15 % of what it happened to give."""
    noise = 1 + 0.15 * np.random.default_rng(4).standard_normal((100, 4, 12))
    truth = 2 - 2 * X
    values = (truth[:, None] * noise).reshape(100, -1)
    atoms = np.repeat(ATOMS, 12)
    for proportional, low, high in ((True, -0.25, 0.25), (False, -1.5, -0.5)):
        found = [extrapolate(atoms, v, 0.15 * v, proportional=proportional) for v in values]
        pull = np.mean([(one.kappa - 2) / one.error for one in found])
        assert low < pull < high
    one = extrapolate(ATOMS, VALUES, ERRORS, proportional=True)
    assert one.points.errors == pytest.approx(ERRORS / VALUES * one.fit.curve(X)[0], rel=1e-12)


def test_a_law_without_a_finite_limit():
    with pytest.raises(InputError, match="gives no finite κ∞"):
        extrapolate([64, 1000], [1.0, 4.0], [0.1, 0.1], law="inverse")
    found = extrapolate([64, 1000], [-1.0, 4.0], [0.1, 0.1])
    assert set(found.laws) == {"linear", "constant"}
    assert "gives no finite κ∞" in found.notes[0]
    loose = extrapolate([64, 216, 1000], [1.0, 1.2, 1.6], [0.2, 0.2, 0.3], law="inverse")
    assert loose.fit.interval(2)[1] == np.inf
    assert any("not determined" in warning for warning in loose.warnings)


@pytest.mark.parametrize(
    ("sizes", "values", "errors", "message"),
    [
        ([64, 216], [1, 2], [0.1, -0.1], r"error 2 of 2 is -0\.1, expected a positive"),
        ([64, 216], [1, 2], [0.1, 0], r"error 2 of 2 is 0, expected a positive"),
        ([64, 216], [np.nan, 2], [0.1, 0.1], "conductivity 1 of 2 is nan, expected a finite"),
        ([64, 216], [1, 2], [0.1, np.inf], "error 2 of 2 is inf"),
        ([0, 216], [1, 2], [0.1, 0.1], "size 1 of 2 is 0"),
        ([64, 64], [1, 2], [0.1, 0.1], "needs two sizes, and three to check its law; there is 1"),
        ([64], [1], [0.1], "needs two sizes"),
        ([], [], [], "there is 0"),
        ([64, 216], [1, 2, 3], [0.1, 0.1], "shapes"),
        ([64, "large"], [1, 2], [0.1, 0.1], "must be numbers"),
    ],
)
def test_what_cannot_be_fitted_is_told(sizes, values, errors, message):
    with pytest.raises(InputError, match=message):
        extrapolate(sizes, values, errors)


@pytest.mark.parametrize("wrong", [{"law": "cubic"}, {"of": "volume"}, {"power": 0}, {"power": np.nan}])
def test_unknown_settings_are_refused(wrong):
    with pytest.raises(InputError, match="expected"):
        extrapolate(ATOMS, VALUES, ERRORS, **wrong)


def test_the_figure_shows_values_law_and_limit():
    found = extrapolate(ATOMS, VALUES, ERRORS)
    axes = draw_extrapolation(found, unit="W/(m K)").axes[0]
    curves = {one.get_label(): np.asarray(one.get_xydata()) for one in axes.get_lines()}
    assert curves["linear law"][0].tolist() == [0, found.kappa]
    assert curves["inverse (weight 0.49)"][0][1] == pytest.approx(found.laws["inverse"].kappa)
    bars = [container for container in axes.containers if container.get_label() == "cells"]
    np.testing.assert_allclose(bars[0].lines[0].get_xydata(), np.column_stack([X, VALUES]))
    assert axes.get_xlabel() == "1/N^(1/3)"


def test_any_units_give_the_same():
    one, other = extrapolate(ATOMS, VALUES, ERRORS), extrapolate(ATOMS, 1e9 * VALUES, 1e9 * ERRORS)
    assert other.kappa == pytest.approx(1e9 * one.kappa, rel=1e-12)
    lengths = extrapolate(1e-3 * ATOMS ** (1 / 3), VALUES, ERRORS, of="length", law="inverse")
    atoms = extrapolate(ATOMS, VALUES, ERRORS, law="inverse")
    assert (lengths.kappa, lengths.error) == pytest.approx((atoms.kappa, atoms.error), rel=1e-9)
    assert repr(one).startswith("<SizeExtrapolation: κ∞ 1.")
