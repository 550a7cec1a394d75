"""Gradients of every loss term against finite differences, and the terms against sums written out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from fluxan.errors import InputError
from fluxan.flux.evaluate import atomic_virial
from fluxan.neighbors import build_graph
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.training.batches import collate
from fluxan.training.loss import FluxTerm, LossWeights, mean_squares, total_loss
from fluxan.training.prediction import predict
from fluxan.training.spectral_band import band_power
from tests.message_passing import scaled_up
from tests.training_frames import training_frames

FLUX_TERMS = {
    "thermal": FluxTerm(temperature=60.0),
    "free-momentum": FluxTerm(temperature=60.0, fixed_momentum=False),
    "by-element": FluxTerm(temperature=60.0, by_element=True),
    "gauge-fixed": FluxTerm(temperature=60.0, gauge_fixed=True, by_element=True),
    "velocities": FluxTerm("velocities"),
    "velocities-by-element": FluxTerm("velocities", by_element=True),
    "band": FluxTerm("band", band=(1.0, 4.0), time_step=0.1),
    "reference": FluxTerm("reference"),
}


def network(n_layers):
    return scaled_up(EquivariantNetwork([18, 36], cutoff=4.2, n_features=4, n_basis=4, n_layers=n_layers, seed=3))


def batch_for(model, n_frames=4):
    frames = training_frames(n_frames)
    return collate(frames, [build_graph(item.frame, model.cutoff) for item in frames], [18, 36])


def only(term, **weights):
    return LossWeights(**({"energy": 0.0, "forces": 0.0, "virial": 0.0} | weights), term=term)


def loss_of(model, batch, weights, name):
    prediction = predict(model, batch, flux=weights.term is not None)
    return 0.5 * mean_squares(prediction, batch, weights)[name]


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("term", ["energy", "forces", "virial", *FLUX_TERMS])
def test_gradients_are_finite_differences(term, n_layers):
    model = network(n_layers)
    batch = batch_for(model)
    weights = LossWeights(term=FLUX_TERMS.get(term))
    name = term if term in {"energy", "forces", "virial"} else "flux"
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(
        loss_of(model, batch, weights, name), parameters, allow_unused=True, materialize_grads=True
    )
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))

    def shift(step):
        with torch.no_grad():
            for parameter, change in zip(parameters, direction, strict=True):
                parameter.add_(change, alpha=step)

    def moved(step):
        shift(step)
        value = float(loss_of(model, batch, weights, name).detach())
        shift(-step)
        return value

    # Fourth order in the step.
    h = 1e-3
    found = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    assert found == pytest.approx(expected, rel=1e-6)
    assert abs(expected) > 1e-9


@pytest.mark.parametrize("n_layers", [1, 2])
def test_predictions_of_a_batch_are_those_of_its_frames(n_layers):
    model = network(n_layers)
    frames = training_frames(3)
    batch = collate(frames, [build_graph(item.frame, model.cutoff) for item in frames], [18, 36])
    together = predict(model, batch, flux=True, training=False)
    for k, item in enumerate(frames):
        mask = batch.frame_of_atom == k
        virial = atomic_virial(item.frame, model)
        assert torch.allclose(together.atomic_virial[mask], torch.tensor(virial), rtol=1e-9, atol=1e-11)
        assert torch.allclose(together.virials[k], torch.tensor(virial.sum(axis=0)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_forces_and_virials_are_derivatives_of_the_energy(n_layers):
    model = network(n_layers)
    item = training_frames(1)[0]

    def energy(frame):
        return float(model(build_graph(frame, model.cutoff)).sum().detach())

    batch = collate([item], [build_graph(item.frame, model.cutoff)], [18, 36])
    found, h = predict(model, batch, flux=False, training=False), 1e-4
    move = np.zeros((8, 3))
    move[3, 1] = h
    shifted = [item.frame.replace(positions=item.frame.positions + s * move) for s in (1, -1)]
    slope = (energy(shifted[0]) - energy(shifted[1])) / (2 * h)
    assert float(found.forces[3, 1].detach()) == pytest.approx(-slope, rel=1e-6)
    strain = np.zeros((3, 3))
    strain[0, 2] = h
    strained = [
        item.frame.replace(positions=item.frame.positions @ deform, cell=item.frame.cell @ deform)
        for deform in (np.eye(3) + strain, np.eye(3) - strain)
    ]
    slope = (energy(strained[0]) - energy(strained[1])) / (2 * h)
    assert float(found.virials[0, 0, 2].detach()) == pytest.approx(-slope, rel=1e-6)


def test_terms_written_out():
    model = network(1)
    batch = batch_for(model)
    prediction = predict(model, batch, flux=True, training=False)
    terms = mean_squares(prediction, batch, LossWeights(term=FluxTerm("reference")))
    flux = torch.stack(
        [
            (
                prediction.atomic_virial[batch.frame_of_atom == k]
                @ batch.velocities[batch.frame_of_atom == k][..., None]
            ).sum(dim=0)[:, 0]
            for k in range(4)
        ]
    )
    energy, forces = (prediction.energies - batch.energies) / 8, prediction.forces - batch.forces
    expected = {
        "energy": (energy**2).mean(),
        "forces": (forces**2).mean(),
        "virial": (((prediction.virials - batch.virials) / 8) ** 2).mean(),
        "flux": ((flux - batch.fluxes) ** 2).sum(dim=1).mean() / 8,
    }
    for name, value in expected.items():
        assert float(terms[name].detach()) == pytest.approx(float(value.detach()), rel=1e-10)
    weights = LossWeights(energy=2.0, forces=0.0, virial=3.0, flux=0.1, term=FluxTerm("reference"))
    total = 0.5 * (2 * expected["energy"] + 3 * expected["virial"] + 0.1 * expected["flux"])
    assert float(total_loss(terms, weights).detach()) == pytest.approx(float(total.detach()), rel=1e-10)


def test_a_missing_label_does_not_count():
    model = network(1)
    frames = training_frames(3)
    frames[1] = frames[1].replace(virial=None)
    graphs = [build_graph(item.frame, model.cutoff) for item in frames]
    batch, rest = collate(frames, graphs, [18, 36]), collate(frames[::2], graphs[::2], [18, 36])
    found, expected = (
        mean_squares(predict(model, b, flux=False, training=False), b, LossWeights())["virial"] for b in (batch, rest)
    )
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)


@pytest.mark.parametrize("n_samples", [16, 17])
def test_bands_add_up_to_the_whole_power(n_samples):
    flux = torch.randn(n_samples, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    edges = [0.0, 0.7, 1.9, 3.1, 6.0]
    # Each frequency belongs to one band.
    bands = [(low if k == 0 else low + 1e-9, high) for k, (low, high) in enumerate(pairwise(edges))]
    total = sum(float(band_power(flux, 0.1, band)) for band in bands)
    assert total == pytest.approx(float(flux.square().sum()), rel=1e-12)
    # By NumPy's transform.
    power = np.abs(np.fft.fft(flux.numpy(), axis=0)) ** 2 / n_samples
    inside = (np.abs(np.fft.fftfreq(n_samples, 0.1)) >= 1.0) & (np.abs(np.fft.fftfreq(n_samples, 0.1)) <= 2.5)
    assert float(band_power(flux, 0.1, (1.0, 2.5))) == pytest.approx(power[inside].sum(), rel=1e-12)


def test_a_band_without_frequencies_is_refused():
    with pytest.raises(InputError, match=r"no frequency between 0.01 and 0.02 THz: 10 frames 0.1 ps apart"):
        band_power(torch.zeros(10, 1, 3, dtype=torch.float64), 0.1, (0.01, 0.02))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (FluxTerm, "needs a temperature"),
        (lambda: FluxTerm("loud"), "expected one of thermal"),
        (lambda: FluxTerm("band", band=(1, 2)), "time between frames"),
        (lambda: FluxTerm("reference", gauge_fixed=True), "as it is"),
        (lambda: LossWeights(energy=-1.0), "zero or more"),
        (lambda: LossWeights(flux=1.0), "no form"),
        (lambda: LossWeights(energy=0, forces=0, virial=0), "nothing to fit"),
    ],
)
def test_settings_without_a_meaning_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
