"""The energy norm against sums over pairs and closed forms, and the decay of known fields."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.lattice.hexagonal import Graphite

from fluxan.errors import InputError
from fluxan.generalization.defects import vacancy
from fluxan.generalization.displacement_field import Stencil, decay_of, displacements_of
from fluxan.generalization.power_laws import fit_power_law


def crystal(n_cells=4):
    return bulk("Ar", "fcc", a=5.3, cubic=True).repeat(n_cells)


def test_the_norm_of_a_random_field_by_brute_force():
    atoms = crystal(3)
    u = np.random.default_rng(0).normal(size=(len(atoms), 3))
    u[4] = np.nan
    total = 0.0
    distances = atoms.get_all_distances(mic=True)
    for i in range(len(atoms)):
        for j in range(len(atoms)):
            if i != j and distances[i, j] < 4.0 and i != 4 and j != 4:
                total += np.sum((u[j] - u[i]) ** 2)
    stencil = Stencil(atoms)
    assert len(stencil.pairs) == 12 * len(atoms)
    assert stencil.norm(u) == pytest.approx(total**0.5)
    assert stencil.norm(u + np.array([1.0, 2.0, 3.0])) == pytest.approx(total**0.5)
    with pytest.raises(InputError, match="larger reach"):
        Stencil(atoms, 1.0)


def test_displacements_across_boundaries_and_of_scaled_cells():
    atoms = crystal(3)
    defect = vacancy(atoms, 7)
    u = np.random.default_rng(1).normal(scale=0.1, size=(len(defect.atoms), 3))
    u -= u.mean(axis=0)
    relaxed = defect.atoms.copy()
    relaxed.positions += u + np.array([0.3, 0.0, -0.2])
    relaxed.wrap()
    found = displacements_of(defect, relaxed)
    assert np.isnan(found[7]).all()
    assert np.allclose(np.delete(found, 7, axis=0), u)
    relaxed.set_cell(relaxed.cell * 1.01, scale_atoms=True)
    assert np.allclose(np.delete(displacements_of(defect, relaxed), 7, axis=0), 1.01 * u)
    del relaxed[0]
    with pytest.raises(InputError, match="other atoms, or another order"):
        displacements_of(defect, relaxed)


def test_the_decay_of_an_elastic_dipole():
    """A field like that of a point defect, u ~ r/r³, has strains like r^−3; near the boundaries it is not periodic."""
    atoms = crystal(12)
    defect = vacancy(atoms, 0)
    r = atoms.positions - defect.core
    r -= atoms.cell.lengths() * np.rint(r / atoms.cell.lengths())
    distances = defect.distances
    with np.errstate(invalid="ignore"):
        u = r / distances[:, None] ** 3
    decay = decay_of(Stencil(atoms), u, distances, n_shells=14)
    inside = (decay.distance > 12) & (decay.distance < 26)
    law = fit_power_law(decay.distance[inside], decay.strain[inside])
    # Differences over 3.7 A of a curved field: the exponent is not -3 to the last digit.
    assert law.exponent == pytest.approx(-3.0, abs=0.1)
    assert decay.n_sites.sum() == len(atoms) - 1


def test_intervals_of_exponents_hold_the_truth():
    rng, x = np.random.default_rng(0), np.geomspace(1, 20, 8)
    inside = 0
    for _ in range(400):
        law = fit_power_law(x, 3 * x**-1.5 * np.exp(0.2 * rng.normal(size=8)))
        inside += law.lower <= -1.5 <= law.upper
    assert 365 <= inside <= 392
    exact = fit_power_law(x, 3 * x**-1.5)
    assert (exact.exponent, exact.prefactor) == (pytest.approx(-1.5), pytest.approx(3.0))
    noisy = fit_power_law(x[:3], [1.0, 0.2, 0.4])
    assert noisy.verdict(-0.9) == "too uncertain"
    assert fit_power_law(x, 3 * x**-1.5 * np.exp(0.02 * rng.normal(size=8))).verdict(-3.0) == "not seen"


def test_what_is_no_power_law():
    for x, y, words in (
        ([1, 2], [1, 2], "three points or more"),
        ([1, 2, 3], [1, 2, -1], "positive numbers"),
        ([1, 2, np.nan], [1, 2, 3], "positive numbers"),
        ([2, 2, 2], [1, 2, 3], "one abscissa"),
    ):
        with pytest.raises(InputError, match=words):
            fit_power_law(x, y)


def perovskite():
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    return Atoms("BaTiO3", scaled_positions=places, cell=[4.0] * 3, pbc=True)


def graphite():
    return Graphite("C", latticeconstant={"a": 2.46, "c": 6.7})


@pytest.mark.parametrize("make", [perovskite, graphite])
def test_every_sublattice_and_layer_counts(make):
    """The shortest distance is that of Ti and O, or one within a layer: neither knows the rest of the crystal."""
    atoms = make().repeat(2)
    chosen = atoms.symbols == "Ba" if "Ba" in atoms.symbols else atoms.positions[:, 2] % 6.7 > 1.0
    assert 0 < chosen.sum() < len(atoms)
    displacements = np.zeros((len(atoms), 3))
    displacements[chosen, 0] = 0.1
    assert Stencil(atoms).norm(displacements) > 0.1
