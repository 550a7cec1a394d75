"""What every adapter must hold: all routes to the flux agree with the Jacobian by definition."""

from __future__ import annotations

import numpy as np

from fluxan.flux.adjoint import AdjointRoute, ForwardPass
from fluxan.flux.energies import model_graph
from fluxan.flux.routes import ROUTES
from fluxan.neighbors import build_graph
from tests.message_passing import flux_oracle, jacobian_oracle, random_frame


def system(numbers, *, n_atoms=4, cell=3.4, **options):
    """Atoms of given elements in turn, in a cell that may be smaller than a cutoff."""
    frame = random_frame(n_atoms, cell=cell, **options)
    return frame.replace(numbers=np.resize(numbers, n_atoms), masses=None)


def assert_exact(model, frame, *, routes=("adjoint", "unfolded"), tolerance=1e-10, referee=None):
    """Per-atom virials, owner × carrier flux and energies of each route equal those by definition.

    `referee` is the model in float64 where `model` itself is not.
    """
    virial, energies = jacobian_oracle(referee or model, frame)
    groups = np.unique(frame.numbers, return_inverse=True)[1]
    expected = flux_oracle(virial, frame, groups, 2)
    graph = build_graph(frame, model.cutoff)
    scale = np.abs(virial.sum(axis=0)).max()
    for name in routes:
        found_energies, found = ROUTES[name](model).atomic_virial(graph)
        assert np.abs(found - virial.sum(axis=0)).max() < tolerance * scale, name
        assert np.abs(found_energies - energies).max() < tolerance * np.abs(energies).max(), name
        flux = ROUTES[name](model).potential_flux(graph, frame.velocities, groups, 2)[1]
        assert np.abs(flux - expected).max() < tolerance * np.abs(expected).max(), name


def assert_every_crossing_counts(model, frame, n_crossings):
    """Leaving out any crossing changes the result much: a test that passes says something."""
    graph = model_graph(model, build_graph(frame, model.cutoff))
    forward = ForwardPass(model, graph)
    assert len(forward.crossings) == n_crossings
    whole = AdjointRoute(model).atomic_virial(build_graph(frame, model.cutoff))[1]
    everything = forward.crossings
    for left_out in everything:
        forward.crossings = tuple(c for c in everything if c is not left_out)
        found = forward.virial().detach().numpy()
        assert np.abs(found - whole).max() > 1e-3 * np.abs(whole).max()
