"""The closed-form mean square of the flux against sampled velocities, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fluxan
from fluxan.errors import InputError
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.training import flux_power
from fluxan.training.power import mean_square_flux, without_mean_virial
from tests.message_passing import scaled_up
from tests.training_frames import crystal, thermal_velocities

MODELS = {
    "pair": lambda: "shipped:ar-kr",
    "two-layers": lambda: scaled_up(EquivariantNetwork([18, 36], cutoff=4.2, n_features=6, n_layers=2)),
}
#: Compression of 8 %: the Lennard-Jones crystal is then under 6 GPa.
COMPRESSED = -0.08 * np.eye(3)
N_SAMPLES = 20_000


def sampled(virial, frame, temperature, *, fixed_momentum):
    """Mean of |Σ W_j v_j|² over drawn velocities, and its standard error."""
    velocities = thermal_velocities(
        frame, temperature, np.random.default_rng(3), N_SAMPLES, fixed_momentum=fixed_momentum
    )
    squares = (np.einsum("jab,sjb->sa", virial, velocities) ** 2).sum(axis=1)
    return squares.mean(), squares.std(ddof=1) / N_SAMPLES**0.5


@pytest.mark.parametrize("fixed_momentum", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_closed_form_equals_sampling(name, fixed_momentum):
    frame = crystal(strain=COMPRESSED, noise=0.1, seed=2)
    model = MODELS[name]()
    mean, error = sampled(fluxan.atomic_virial(frame, model), frame, 300.0, fixed_momentum=fixed_momentum)
    found = flux_power(model, frame, temperature=300.0, fixed_momentum=fixed_momentum)
    assert abs(found - mean) < 4 * error
    assert error < 0.02 * mean


def test_the_momentum_matters_under_pressure():
    frame = crystal(strain=COMPRESSED, noise=0.1, seed=2)
    pressure = np.trace(fluxan.atomic_virial(frame, "shipped:ar-kr").sum(axis=0)) / (3 * frame.volume)
    assert 5.0 < pressure * 160.2 < 7.0  # GPa
    free = flux_power("shipped:ar-kr", frame, temperature=300.0, fixed_momentum=False)
    assert flux_power("shipped:ar-kr", frame, temperature=300.0) < 0.5 * free


def test_of_elements():
    frame = crystal(noise=0.1, seed=2)
    virial = fluxan.atomic_virial(frame, "shipped:ar-kr")
    species = (frame.numbers == 36).astype(np.int64)
    velocities = thermal_velocities(frame, 300.0, np.random.default_rng(3), N_SAMPLES)
    squares = sum(
        (np.einsum("jab,sjb->sa", virial[species == k], velocities[:, species == k]) ** 2).sum(axis=1) for k in (0, 1)
    )
    found = mean_square_flux(
        torch.tensor(virial),
        torch.tensor(np.array(frame.masses)),
        torch.zeros(frame.n_atoms, dtype=torch.int64),
        1,
        temperature=300.0,
        carriers=torch.tensor(species),
    )
    assert abs(float(found) - squares.mean()) < 4 * squares.std() / N_SAMPLES**0.5


def test_mean_virials_of_elements_are_taken_out():
    rng = np.random.default_rng(0)
    virial, frames = torch.tensor(rng.normal(size=(12, 3, 3))), torch.tensor([0] * 5 + [1] * 7)
    species = torch.tensor([0, 1] * 6)
    left = without_mean_virial(virial, frames, species, 2)
    for frame in (0, 1):
        for element in (0, 1):
            mask = (frames == frame) & (species == element)
            assert left[mask].mean(dim=0).abs().max() < 1e-15
            spread = virial[mask] - virial[mask].mean(dim=0)
            assert torch.allclose(left[mask], spread, atol=1e-15)


def test_grows_with_the_cell_and_with_temperature():
    small, large = crystal(), crystal(n_cells=2)
    power = [flux_power("shipped:ar-kr", frame, temperature=100.0) for frame in (small, large)]
    assert power[1] == pytest.approx(8 * power[0], rel=1e-10)
    assert flux_power("shipped:ar-kr", small, temperature=200.0) == pytest.approx(2 * power[0], rel=1e-12)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), "300", True])
def test_refuses_temperatures(temperature):
    with pytest.raises(InputError, match="temperature"):
        flux_power("shipped:ar-kr", crystal(), temperature=temperature)
