"""Ensembles against their members, one by one."""

from __future__ import annotations

import ase
import numpy as np
import pytest

import fluxan
from fluxan.active.ensemble import Ensemble
from fluxan.errors import InputError, ModelError
from fluxan.neighbors import build_graph
from fluxan.potentials.behler_parrinello import BehlerParrinello
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.potentials.symmetry_functions import default_functions
from tests.message_passing import scaled_up
from tests.training_frames import crystal, linear_model


def behler_parrinello(seed):
    model = BehlerParrinello(default_functions([18, 36], cutoff=5.0, triplet_cutoff=4.5), hidden=(5,), seed=seed)
    # Members learn from different frames: their standard deviations and offsets differ.
    model.standardise([build_graph(crystal(noise=0.2, seed=seed), 5.0)])
    model.offsets += 0.1 * seed
    return model


KINDS = {
    "behler-parrinello": [behler_parrinello(seed) for seed in range(3)],
    "linear": [linear_model(seed) for seed in range(3)],
    "message passing": [
        scaled_up(EquivariantNetwork([18, 36], cutoff=5.0, n_features=4, n_layers=2, seed=seed)) for seed in range(3)
    ],
    "mixed": [behler_parrinello(0), EquivariantNetwork([18, 36], cutoff=5.0, n_features=4, seed=1), linear_model(2)],
}
FRAME = crystal(noise=0.2, temperature=80.0, seed=9)


@pytest.mark.parametrize("name", KINDS)
def test_equals_its_members(name):
    members = KINDS[name]
    found = Ensemble(members).evaluate(FRAME, flux=True)
    for k, member in enumerate(members):
        calculator = fluxan.md.ase.FluxanCalculator(member)
        atoms = ase.Atoms(FRAME.numbers, FRAME.positions, cell=FRAME.cell, pbc=True, calculator=calculator)
        assert found.energies[k] == pytest.approx(atoms.get_potential_energy(), rel=1e-12)
        forces = atoms.get_forces()
        assert np.abs(found.forces[k] - forces).max() <= 1e-12 * np.abs(forces).max()
        flux = fluxan.heat_flux(FRAME, member).potential.sum(axis=0)
        assert np.abs(found.fluxes[k] - flux).max() <= 1e-12 * np.abs(flux).max()


@pytest.mark.parametrize("name", KINDS)
def test_the_mean_is_a_model(name):
    ensemble = Ensemble(KINDS[name])
    found = ensemble.evaluate(FRAME)
    energies = ensemble.mean(build_graph(FRAME, ensemble.cutoff))
    assert float(energies.sum().detach()) == pytest.approx(found.energies.mean(), rel=1e-12)


def test_spreads_written_out():
    found = Ensemble(KINDS["behler-parrinello"]).evaluate(FRAME, flux=True)
    for spread, values in ((found.force_spread, found.forces), (found.flux_spread, found.fluxes)):
        for i, value in enumerate(spread):
            vectors = values[:, i]
            expected = np.mean([np.sum((v - vectors.mean(axis=0)) ** 2) for v in vectors]) ** 0.5
            assert value == pytest.approx(expected, rel=1e-12)


def test_identical_members_have_no_spread():
    found = Ensemble([behler_parrinello(0)] * 2).evaluate(FRAME)
    assert found.force_spread.max() == 0.0


def test_refused():
    with pytest.raises(ModelError, match="an ensemble of 1 member has no spread"):
        Ensemble([linear_model()])
    other = EquivariantNetwork([18, 36], cutoff=4.0)
    with pytest.raises(ModelError, match="the members have cutoffs 4, 5 Å"):
        Ensemble([linear_model(), other])
    with pytest.raises(InputError, match="ask for them with flux=True"):
        _ = Ensemble(KINDS["linear"]).evaluate(FRAME).flux_spread
