"""Choice of the driving force from conductivities whose true dependence on it is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from fluxan.md.hnemd.linearity import MAX_BIAS, Level, choose_level

KAPPA = 3.0


def levels(strengths, *, curvature=0.0, quartic=0.0, noise=0.01, failures=(), seed=0):
    """Errors of κ grow as 1/F; those that fail have no result."""
    rng = np.random.default_rng(seed)
    found = []
    for strength in strengths:
        if strength in failures:
            found.append(Level(strength, None, "the atoms heat up"))
            continue
        error = noise * KAPPA * max(strengths) / strength
        true = KAPPA * (1 + curvature * strength**2 + quartic * strength**4)
        found.append(Level(strength, SimpleNamespace(kappa=true + rng.normal(scale=error), error=error)))
    return found


def test_three_results_are_needed():
    assert choose_level(levels([0.4, 0.2])) is None
    assert choose_level(levels([0.8, 0.4, 0.2], failures=(0.8,))) is None
    assert choose_level([]) is None


def test_the_largest_is_chosen_where_all_are_linear():
    choice = choose_level(levels([0.4, 0.2, 0.1], noise=0.005))
    assert choice.level.strength == 0.4
    assert abs(choice.bias) < 2.5 * choice.bias_error
    assert choice.kappa == pytest.approx(KAPPA, abs=3 * choice.error)


def test_nonlinear_levels_are_left_out_and_their_curvature_found():
    choice = choose_level(levels([0.8, 0.4, 0.2, 0.1], curvature=0.5, noise=0.002))
    assert choice.level.strength == 0.2
    assert choice.curvature == pytest.approx(0.5, abs=4 * choice.curvature_error)
    assert choice.bias == pytest.approx(0.5 * 0.2**2, abs=4 * choice.bias_error)
    assert choice.kappa == pytest.approx(KAPPA, abs=4 * choice.error)


def test_order_does_not_matter():
    given = levels([0.8, 0.4, 0.2, 0.1], curvature=0.5, noise=0.002)
    assert choose_level(given[::-1]) == choose_level(given)


def test_a_level_that_heats_is_not_chosen():
    given = levels([0.4, 0.2, 0.1, 0.05], noise=0.003)
    given[0] = Level(given[0].strength, given[0].result, "the atoms are hotter than the thermostat")
    assert choose_level(given).level.strength == 0.2


def test_higher_orders_do_not_spoil_the_fit():
    """The response collapses at the largest driving force, as when a crystal begins to shear."""
    choice = choose_level(levels([0.8, 0.4, 0.2, 0.1, 0.05], quartic=4.0, noise=0.002))
    true = 4.0 * choice.level.strength**4
    assert abs(true) < MAX_BIAS
    assert choice.level.strength >= 0.2


def test_nothing_is_chosen_while_errors_are_large():
    assert choose_level(levels([0.4, 0.2, 0.1], noise=0.2)) is None


def test_choices_are_rarely_biased():
    """Over many realisations the bias of the chosen force stays below the limit, with errors as they are."""
    true = []
    for seed in range(200):
        choice = choose_level(levels([0.8, 0.4, 0.2, 0.1], curvature=0.4, noise=0.01, seed=seed))
        if choice is not None:
            true.append(0.4 * choice.level.strength**2)
    assert len(true) > 150
    assert np.mean(np.array(true) > 1.5 * MAX_BIAS) < 0.05
