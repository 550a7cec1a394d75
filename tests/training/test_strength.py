"""The choice of a strength from curves of known shape, and scans of linear models and networks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fluxan.errors import InputError
from fluxan.training.dataset import TrainingSet
from fluxan.training.linear_scan import scan_linear
from fluxan.training.loss import FluxTerm, LossWeights
from fluxan.training.strength import choose_strength
from tests.training_frames import linear_model, training_frames

STRENGTHS = np.logspace(-6, 2, 81)


def power_of(gauge, intrinsic, *, first=1e-4, last=10.0):
    """A part that the data leave open falls at `first`, the material's own at `last`."""
    return gauge / (1 + STRENGTHS / first) ** 2 + intrinsic / (1 + STRENGTHS / last) ** 2


def errors_of(rise):
    return dict.fromkeys(("energy", "forces", "virial"), 1.0 + (STRENGTHS / rise) ** 2)


BASELINE = {"energy": 1.0, "forces": 1.0, "virial": 1.0}
SPREAD = {"energy": 0.02, "forces": 0.02, "virial": 0.02}


def choose(power, errors, spread=SPREAD):
    return choose_strength(STRENGTHS, power, errors, BASELINE, spread, unregularised=power[0])


def test_the_end_of_a_plateau():
    found = choose(power_of(1.0, 0.3), errors_of(10.0))
    assert found.kind == "plateau"
    # Open directions are gone, the material's flux is there.
    assert found.power * 1.3 == pytest.approx(0.3, rel=0.1)
    assert 1e-2 < found.strength <= found.largest
    assert found.limiting in BASELINE


def test_a_plateau_ends_before_the_errors_show_it():
    # No error rises at all, as when the errors do not see what the term takes from the flux.
    found = choose(power_of(1.0, 0.3), errors_of(1e6))
    assert found.kind == "plateau"
    assert found.limiting == ""
    assert found.strength < 1.0 < found.largest
    assert found.power * 1.3 == pytest.approx(0.3, rel=0.1)


def test_without_a_plateau_the_knee():
    # The material's flux falls as soon as the open part is gone.
    found = choose(power_of(1.0, 0.02, last=1e-2), errors_of(1e-2))
    assert found.kind == "knee"
    assert 1e-4 < found.strength <= found.largest


def test_five_strengths_of_networks():
    """Flux power and RMSE of networks for silver iodide, a factor of ten apart; the last one costs accuracy."""
    strengths = 9.42e-7 * 10.0 ** np.arange(5)
    power = np.array([3.84, 3.63, 2.96, 2.60, 1.55])
    forces = {"forces": np.array([0.0850, 0.0850, 0.0851, 0.0854, 0.1008])}
    found = choose_strength(strengths, power, forces, {"forces": 0.0850}, {"forces": 0.0016}, unregularised=3.86)
    assert (found.kind, found.strength, found.limiting) == ("knee", strengths[3], "forces")


def test_a_fall_that_the_errors_cut_off():
    found = choose(power_of(1.0, 0.0, first=1e-3), errors_of(1e-2))
    assert (found.kind, found.strength) == ("falling", found.largest)
    assert "still falls there" in str(found)


def test_nothing_to_remove():
    found = choose(power_of(0.0, 1.0), errors_of(1e-3))
    assert found.kind == "none"
    assert "does not fall" in str(found)


def test_errors_that_exceed_their_spread_everywhere():
    found = choose(power_of(1.0, 0.3), errors_of(1e-9))
    assert (found.kind, found.strength, found.largest) == ("too strong", STRENGTHS[0], 0.0)
    assert "the error of the energy exceeds its spread there already, begin lower" in str(found)


def test_too_few_strengths():
    with pytest.raises(InputError, match="2 strengths are too few"):
        choose_strength(STRENGTHS[:2], STRENGTHS[:2], {}, {}, {}, unregularised=1.0)


def frames(n_frames=16):
    return [item.replace(trajectory=str(k // 2)) for k, item in enumerate(training_frames(n_frames))]


def test_scan_of_a_linear_model():
    weights = LossWeights(energy=10.0, virial=0.5, term=FluxTerm(temperature=60.0))
    done = []
    scan = scan_linear(
        linear_model(), TrainingSet(frames()[:12]), TrainingSet(frames()[12:]), weights, progress=done.append
    )
    assert len(scan.strengths) == 81
    assert scan.strengths[-1] / scan.strengths[0] == pytest.approx(1e8)
    assert done[-1] == 12
    for name in ("energy", "forces", "virial"):
        assert scan.spread[name] > 0
        assert scan.validation[name][0] == pytest.approx(scan.baseline[name], rel=1e-3)
    assert all(np.diff(scan.train["flux"]) <= 1e-12)
    assert scan.strengths[0] <= scan.estimate.strength <= scan.estimate.largest


def test_a_scan_needs_a_flux_term():
    with pytest.raises(InputError, match="a scan needs a flux term"):
        scan_linear(linear_model(), TrainingSet(frames()), TrainingSet(frames()), LossWeights())


def test_spreads_are_json():
    weights = LossWeights(energy=10.0, virial=0.5, term=FluxTerm(temperature=60.0))
    scan = scan_linear(linear_model(), TrainingSet(frames()[:8]), TrainingSet(frames()[8:]), weights)
    json.dumps([scan.baseline, scan.spread], allow_nan=False)
