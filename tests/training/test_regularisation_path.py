"""The path over all strengths against direct least squares, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import lstsq

from fluxan.errors import InputError
from fluxan.training.dataset import TrainingSet
from fluxan.training.linear_design import LinearDesign, merged_roots
from fluxan.training.loss import FluxTerm, LossWeights
from fluxan.training.regularisation_path import RegularisationPath
from tests.training_frames import linear_model, training_frames

WEIGHTS = LossWeights(energy=10.0, forces=1.0, virial=0.5)
STRENGTHS = np.logspace(-4, 4, 9)


@pytest.fixture(scope="module", params=["thermal", "reference"])
def design(request):
    term = FluxTerm(request.param, temperature=60.0)
    return LinearDesign(linear_model(), TrainingSet(training_frames(12, n_cells=1)), term)


def direct(roots, strength):
    """Least squares on the stacked rows, by a pivoted QR decomposition of SciPy."""
    parts = [10.0**0.5 * roots["energy"], roots["forces"], 0.5**0.5 * roots["virial"], strength**0.5 * roots["flux"]]
    rows = np.concatenate(parts)
    columns = np.linalg.norm(rows[:, :-1], axis=0)
    columns[columns == 0] = 1.0  # a function that no triplet reaches
    return lstsq(rows[:, :-1] / columns, rows[:, -1], cond=1e-13, lapack_driver="gelsy")[0] / columns


def test_equals_direct_solves_over_eight_decades(design):
    path = RegularisationPath(design.roots, WEIGHTS)
    for strength in STRENGTHS:
        expected = design.mean_squares(direct(design.roots, strength))
        for name, value in path.mean_squares(strength).items():
            assert value == pytest.approx(expected[name], rel=1e-8)


def test_the_loss_is_least(design):
    path, rng = RegularisationPath(design.roots, WEIGHTS), np.random.default_rng(0)

    def loss(weights):
        terms = design.mean_squares(weights)
        return 10.0 * terms["energy"] + terms["forces"] + 0.5 * terms["virial"] + 0.1 * terms["flux"]

    best = path.weights(0.1)
    for _ in range(20):
        assert loss(best + 1e-3 * np.abs(best).max() * rng.normal(size=best.size)) > loss(best)


def test_flux_falls_and_errors_rise_with_the_strength():
    design = LinearDesign(linear_model(), TrainingSet(training_frames(12)), FluxTerm(temperature=60.0))
    path = RegularisationPath(design.roots, WEIGHTS)
    terms = [path.mean_squares(p) for p in [0.0, *STRENGTHS]]
    flux = [t["flux"] for t in terms]
    data = [10.0 * t["energy"] + t["forces"] + 0.5 * t["virial"] for t in terms]
    assert all(np.diff(flux) < 1e-12 * flux[0])
    assert all(np.diff(data) > -1e-12 * data[-1])


def test_merged_designs_are_the_whole():
    frames = training_frames(8)
    term, model = FluxTerm(temperature=60.0), linear_model()
    whole = LinearDesign(model, TrainingSet(frames), term).roots
    parts = merged_roots([LinearDesign(model, TrainingSet(frames[k : k + 4]), term) for k in (0, 4)])
    for name, root in whole.items():
        assert np.allclose(root.T @ root, parts[name].T @ parts[name], rtol=1e-9, atol=1e-9 * np.abs(root).max() ** 2)


def test_offsets_of_one_composition_are_undetermined():
    # Every frame has as many argon as krypton atoms: only the sum of both offsets is seen.
    design = LinearDesign(linear_model(), TrainingSet(training_frames(12)), FluxTerm(temperature=60.0))
    found = RegularisationPath(design.roots, WEIGHTS).open_directions()
    assert found.n_undetermined >= 1
    assert (found.freedom > 0).all()


def test_a_flux_term_is_needed():
    design = LinearDesign(linear_model(), TrainingSet(training_frames(2)))
    with pytest.raises(InputError, match="no flux term"):
        RegularisationPath(design.roots, WEIGHTS)
