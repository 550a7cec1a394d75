"""Rows of linear models against the loss terms that autograd gives."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.training.dataset import TrainingSet
from fluxan.training.linear_design import LinearDesign
from fluxan.training.loss import FluxTerm, LossWeights, mean_squares
from fluxan.training.prediction import predict
from tests.training_frames import linear_model, training_frames

TERMS = {
    "thermal": FluxTerm(temperature=60.0),
    "free-momentum": FluxTerm(temperature=60.0, fixed_momentum=False),
    "by-element": FluxTerm(temperature=60.0, by_element=True),
    "gauge-fixed": FluxTerm(temperature=60.0, gauge_fixed=True, by_element=True),
    "velocities": FluxTerm("velocities", by_element=True),
    "reference": FluxTerm("reference"),
    "band": FluxTerm("band", band=(1.0, 4.0), time_step=0.1, window=5),
}


@pytest.mark.parametrize("name", TERMS)
def test_roots_give_the_loss_terms(name):
    term, model = TERMS[name], linear_model()
    training_set = TrainingSet([item.replace(trajectory="one") for item in training_frames(5)])
    (batch,) = training_set.batches(model.cutoff, 5, consecutive=True)
    expected = mean_squares(predict(model, batch, flux=True, training=False), batch, LossWeights(term=term))
    design = LinearDesign(model, training_set, term)
    found = design.mean_squares(np.append(model.weights.detach().numpy().ravel(), model.offsets.numpy()))
    assert set(found) == {"energy", "forces", "virial", "flux"}
    for key, value in expected.items():
        assert found[key] == pytest.approx(float(value.detach()), rel=1e-9)


def test_blocks_do_not_change_the_roots():
    model = linear_model()
    frames = training_frames(6)
    whole, parts = (
        LinearDesign(model, TrainingSet(chosen), TERMS["thermal"]) for chosen in (frames, frames[3:] + frames[:3])
    )
    for name, root in whole.roots.items():
        other = parts.roots[name]
        assert np.allclose(root.T @ root, other.T @ other, rtol=1e-9, atol=1e-9 * np.abs(root.T @ root).max())


def test_frames_without_a_label_have_no_row():
    model = linear_model()
    frames = training_frames(4)
    design = LinearDesign(model, TrainingSet([frames[0], frames[1].replace(forces=None, virial=None)]))
    single = LinearDesign(model, TrainingSet([frames[0], frames[0]]))
    weights = np.ones(design.n_columns)
    for name in ("forces", "virial"):
        assert design.mean_squares(weights)[name] == pytest.approx(single.mean_squares(weights)[name], rel=1e-9)
