"""The adjoint route against metatomic's heat flux, independent code that unfolds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.metatomic_flux import metatomic_flux
from fluxan.flux.adjoint import AdjointRoute
from fluxan.neighbors import build_graph
from fluxan.potentials.equivariant import EquivariantNetwork
from tests.message_passing import ToyModel, random_frame, scaled_up

MODELS = {
    "toy": lambda: ToyModel(2, vectors=True, symmetrised=True),
    "network": lambda: scaled_up(EquivariantNetwork([1, 2], cutoff=3.0, n_features=6)),
}


@pytest.mark.parametrize("name", MODELS)
def test_total_flux(name):
    model = MODELS[name]()
    frame = random_frame(8, cell=6.8, triclinic=True)
    frame = frame.replace(numbers=np.arange(8) % 2 + (1 if model.elements else 0))
    energies, flux = AdjointRoute(model).potential_flux(
        build_graph(frame, model.cutoff), frame.velocities, np.zeros(8, int), 1
    )
    expected = metatomic_flux(model, frame)
    np.testing.assert_allclose(flux[0, 0] + energies @ frame.velocities, expected, atol=1e-7 * np.abs(expected).max())
    assert np.abs(flux).max() > 0.01 * np.abs(expected).max()
