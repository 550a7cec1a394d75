"""Sums of calculators on the atoms: the flux is the weighted sum of the members' fluxes, each within its own cutoff."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.calculators.mixing import AverageCalculator, LinearCombinationCalculator, MixedCalculator, SumCalculator

import fluxan
from fluxan.errors import ModelError
from fluxan.md.ase import FluxanCalculator
from fluxan.potentials.lennard_jones import LennardJones
from tests.message_passing import ToyModel, random_frame

LJ = LennardJones(cutoff=5.0, pairs={"Ar-Ar": {"epsilon": 0.01, "sigma": 3.4}})
LONGER = LennardJones(cutoff=6.5, pairs={"Ar-Ar": {"epsilon": 0.004, "sigma": 3.0}})


@pytest.fixture(scope="module")
def atoms():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(3) * 3.8] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    atoms = Atoms("Ar27", positions=grid + rng.normal(scale=0.1, size=grid.shape), cell=[11.4] * 3, pbc=True)
    atoms.set_momenta(rng.normal(size=grid.shape))
    return atoms


def flux(atoms, model):
    trajectory = fluxan.trajectory.as_trajectory([atoms])
    return fluxan.heat_flux(next(iter(trajectory)), model)


SUMS = {
    "sum": (lambda a, b: SumCalculator([a, b]), (1, 1)),
    "linear": (lambda a, b: LinearCombinationCalculator([a, b], [0.3, -1.5]), (0.3, -1.5)),
    "average": (lambda a, b: AverageCalculator([a, b]), (0.5, 0.5)),
    "mixing": (lambda a, b: MixedCalculator(a, b, 0.25, 0.75), (0.25, 0.75)),
    "nested": (lambda a, b: SumCalculator([a, LinearCombinationCalculator([a, b], [2.0, 0.5])]), (3, 0.5)),
}


@pytest.mark.parametrize("name", SUMS)
def test_flux_of_a_sum_is_the_sum_of_fluxes(name, atoms):
    make, (first, second) = SUMS[name]
    moving = atoms.copy()
    moving.calc = make(FluxanCalculator(LJ), FluxanCalculator(LONGER))
    found = fluxan.decompose([moving], progress=False)
    expected = first * flux(atoms, LJ).potential + second * flux(atoms, LONGER).potential
    np.testing.assert_allclose(found["potential"].values[0], expected, rtol=1e-12, atol=1e-14)
    summed = fluxan.load_model(moving.calc)
    np.testing.assert_allclose(flux(atoms, summed).potential, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("n_layers", "cutoff"), [(1, 2.5), (2, 3.0), (2, 2.5)])
def test_members_that_pass_messages_beside_a_pair_potential(n_layers, cutoff):
    network, pair = ToyModel(n_layers, n_elements=2, cutoff=cutoff), ToyModel(1, cutoff=3.0, seed=3)
    frame = random_frame()
    summed = fluxan.load_model(LinearCombinationCalculator([FluxanCalculator(network), FluxanCalculator(pair)], [2, 1]))
    expected = 2 * fluxan.heat_flux(frame, network).potential + fluxan.heat_flux(frame, pair).potential
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which route is taken, and what it costs, is not what is tested
        found = fluxan.heat_flux(frame, summed).potential
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())


def test_a_less_precise_member_sets_the_precision():
    single, double = ToyModel(1).float(), ToyModel(1, seed=4)
    summed = fluxan.load_model(SumCalculator([FluxanCalculator(double), FluxanCalculator(single)]))
    frame = random_frame()
    expected = sum(fluxan.heat_flux(frame, model).potential for model in (single, double))
    np.testing.assert_allclose(fluxan.heat_flux(frame, summed).potential, expected, rtol=0, atol=1e-4)


class Dispersion(Calculator):
    implemented_properties = ("energy",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SumCalculator([FluxanCalculator(LJ), Dispersion()]),
            "Dispersion, calculator 2 of 2 in a SumCalculator",
        ),
        (lambda: MixedCalculator(AseLennardJones(), FluxanCalculator(LJ), 0.5, 0.5), "LennardJones, calculator 1 of 2"),
        (
            lambda: SumCalculator([FluxanCalculator(LJ), SumCalculator([Dispersion(), Dispersion()])]),
            "Dispersion, calc",
        ),
    ],
)
def test_members_without_atomic_energies_are_one_line(make, message, atoms):
    moving = atoms.copy()
    moving.calc = make()
    with pytest.raises(ModelError, match="give model= one of the others") as error:
        fluxan.decompose([moving], progress=False)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
