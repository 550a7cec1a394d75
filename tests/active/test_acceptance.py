"""The published acceptance rule against a table of its values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fluxan.active.acceptance import AcceptanceRule
from fluxan.errors import InputError

RULE = AcceptanceRule(mean_uncertainty=0.10, std_uncertainty=0.02, mean_energy=-50.0, std_energy=0.5)

#: Uncertainty in σ_U and energy in σ_E above their means, and P by hand: erf(1/√0.2) = 0.99843, 0.2^0.25 = 0.66874.
TABLE = [
    (2.0, 0.0, 0.5),
    (3.0, 0.0, 0.5 * (1 + 0.9984345977419975)),
    (1.0, 0.0, 0.5 * (1 - 0.9984345977419975)),
    (2.0, 1.8, 0.5),
    (2.0, 2.6, 0.5 * 0.2),
    (2.0, 2.0, 0.5 * 0.668740304976422),
    (2.0, 3.4, 0.5 * 0.04),
    (2.0, -30.0, 0.5),
    (30.0, -30.0, 1.0),
]


@pytest.mark.parametrize(("uncertainty", "energy", "expected"), TABLE)
def test_table(uncertainty, energy, expected):
    found = RULE.probability(0.10 + 0.02 * uncertainty, -50.0 + 0.5 * energy)
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_low_energies_are_never_rejected():
    assert RULE.probability(0.2, -1e6) == RULE.probability(0.2, -50.0) > 0.99


def test_probabilities_are_monotonic():
    uncertainties = [RULE.probability(u, -49.0) for u in np.linspace(0.0, 0.3, 50)]
    energies = [RULE.probability(0.15, e) for e in np.linspace(-60, -40, 50)]
    assert (np.diff(uncertainties) >= 0).all()
    assert (np.diff(energies) <= 0).all()
    assert all(0 <= p <= 1 for p in uncertainties + energies)


def test_statistics_of_a_test_set():
    rng = np.random.default_rng(0)
    uncertainties, energies = rng.normal(0.1, 0.02, 200), rng.normal(-50, 0.5, 200)
    rule = AcceptanceRule.of_test_set(uncertainties, energies)
    assert rule.std_energy == pytest.approx(math.sqrt(np.var(energies, ddof=1)))
    # A test set is hardly ever accepted again: its own spread is what is passed over.
    assert np.mean([rule.probability(u, e) for u, e in zip(uncertainties, energies, strict=True)]) < 0.06


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        ((0.1, 0.0, -50.0, 0.5), "are the members identical"),
        ((0.1, 0.02, -50.0, 0.0), "the energy of the test set does not vary"),
        ((float("nan"), 0.02, -50.0, 0.5), "mean_uncertainty of the test set is nan"),
    ],
)
def test_statistics_that_cannot_be_used(statistics, message):
    with pytest.raises(InputError, match=message):
        AcceptanceRule(*statistics)


def test_a_test_set_of_one_frame():
    with pytest.raises(InputError, match="two or more"):
        AcceptanceRule.of_test_set([0.1], [1.0])
