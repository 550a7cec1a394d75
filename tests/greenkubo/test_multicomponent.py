"""Conductivity at zero mass flux, against known Onsager matrices and a liquid whose energies are shifted by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import fluxan
from fluxan.greenkubo import multicomponent
from tests.exact_series import Series

LJ = {"dt": 1.0, "volume": 1.0, "temperature": 1.0, "units": "lj"}
HEAT = Series(((1, 5), (0.3, 30)), ((1, 20, 25),))
MASS = Series(((1.0, 8),))


def pair(seed: int, length: int = 20_000, coupling: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """A heat flux and a species' flux with L_qq = κ + c² L_mm, L_qm = c L_mm."""
    rng = np.random.default_rng([3, seed])
    heat, mass = HEAT.sample(length, rng=rng), MASS.sample(length, rng=rng)
    return heat + coupling * mass, mass[:, None]


def test_known_onsager_matrix():
    """L_qq − L_qm²/L_mm without bias, where L_qq alone is twice as large."""
    found = []
    for seed in range(24):
        flux, velocity = pair(seed)
        result = fluxan.green_kubo(flux, velocity=velocity, compare=(), **LJ)
        found.append((result.kappa, result.error, result.kappa_single))
    kappa, error, single = np.array(found).T
    assert abs(kappa.mean() - HEAT.integral) < 3 * kappa.std() / np.sqrt(24)
    assert kappa.std() < 0.15 * HEAT.integral
    assert (np.abs(kappa - HEAT.integral) < 2 * error).mean() > 0.8
    total = HEAT.integral + 1.5**2 * MASS.integral
    assert abs(single.mean() - total) < 4 * single.std() / np.sqrt(24)
    assert np.median((single - HEAT.integral) / error) > 8


def test_notes_name_the_choices():
    flux, velocity = pair(1)
    result = fluxan.green_kubo(flux, velocity=velocity, **LJ)
    assert result.components == "multi"
    assert result.diagnostics.diffusing
    assert "species diffuse: κ is that at zero mass flux; without that, κ would be" in str(result)
    alone = fluxan.green_kubo(flux, velocity=velocity, components="single", **LJ)
    assert alone.kappa == alone.kappa_single == result.kappa_single
    assert any("zero of their energies" in warning for warning in alone.warnings)


def test_shifted_energies_of_a_liquid(liquid):
    """Two tenths of an eV per argon atom, which change no force."""
    before = fluxan.green_kubo(liquid)
    shifted = liquid.copy()
    shifted["convective"] = liquid["convective"] + np.array([0.2, -0.1])[:, None] * liquid["velocity"]
    after = fluxan.green_kubo(shifted)
    assert before.components == after.components == "multi"
    assert after.kappa == pytest.approx(before.kappa, rel=1e-4)
    np.testing.assert_allclose(after.by_carrier, before.by_carrier, rtol=1e-3)
    np.testing.assert_allclose(after.matrix, before.matrix, rtol=1e-2)
    naive, naive_after = (fluxan.green_kubo(d, components="single") for d in (liquid, shifted))
    assert abs(naive_after.kappa - naive.kappa) > 3 * naive.error


def test_momentum_leaves_one_flux_less_than_species(liquid):
    series = np.random.default_rng(1).standard_normal((400, 3, 3)) + 0j
    assert multicomponent.independent_fluxes(series).shape == (3, 3)
    series[:, 2] = -0.3 * series[:, 0] - 0.7 * series[:, 1]
    mixing = multicomponent.independent_fluxes(series)
    assert mixing.shape == (3, 2)
    fluxes = np.einsum("fax,ak->fkx", series, mixing)
    np.testing.assert_allclose(np.einsum("fax,fbx->ab", fluxes.conj(), fluxes), np.eye(2), atol=1e-12)
    velocity = np.fft.rfft(liquid["velocity"].values, axis=0)[1:]
    assert multicomponent.independent_fluxes(velocity).shape == (2, 1)


def test_projection_is_the_schur_complement():
    """Against 1/(S⁻¹)₀₀ of the averaged cross-spectral matrix, bin by bin."""
    rng = np.random.default_rng(4)
    n, n_species = 35, 3
    flux, species = (rng.standard_normal((2, n, k, 3)) for k in (2, n_species))
    flux, species = flux[0] + 1j * flux[1], species[0] + 1j * species[1]
    frequencies = np.arange(1, n + 1) / 100
    data = SimpleNamespace(flux=flux, frequencies=frequencies)
    projected = multicomponent.project(data, species)
    width = multicomponent.bin_width(n_species)
    ordinates = 3 * width
    for k in range(n // width):
        part = slice(k * width, (k + 1) * width)
        both = np.concatenate([flux[part].sum(axis=1, keepdims=True), species[part]], axis=1)
        matrix = np.einsum("fax,fbx->ab", both.conj(), both) / ordinates
        expected = 1 / np.linalg.inv(matrix)[0, 0].real * ordinates / (ordinates - n_species)
        assert projected.density[k] == pytest.approx(expected, rel=1e-10)
        assert projected.frequencies[k] == pytest.approx(frequencies[part].mean())
    assert projected.dof == 2 * (ordinates - n_species)
    again = multicomponent.project(data, species, multiples=True)
    np.testing.assert_allclose(again.frequencies / again.frequencies[0], np.arange(1, len(again.frequencies) + 1))
    assert again.frequencies[0] == pytest.approx(width / 100)


def test_projected_noise_keeps_its_level():
    """White and independent: the density stays 1 on average, whatever the number of fluxes."""
    rng = np.random.default_rng(6)
    for n_species in (1, 2, 4):
        parts = [rng.standard_normal((2, 6000, k, 3)) / np.sqrt(2) for k in (1, n_species)]
        flux, species = (real + 1j * imaginary for real, imaginary in parts)
        data = SimpleNamespace(flux=flux, frequencies=np.arange(1, 6001.0))
        projected = multicomponent.project(data, species)
        spread = projected.density.std() / np.sqrt(len(projected.density))
        assert abs(projected.density.mean() - 1) < 4 * spread
        assert projected.density.var() == pytest.approx(2 / projected.dof, rel=0.2)


@pytest.mark.parametrize("length", [2000, 50_000])
def test_bound_species_do_not_diffuse(length):
    """Velocities are differences of bounded displacements in a solid, with the ends of the run anywhere."""
    rng = np.random.default_rng(9)
    bound = Series(((1.0, 4),), ((1.0, 10, 12),)).sample(length + 1, rng=rng)
    free = MASS.sample(length, rng=rng)
    still = np.fft.rfft(np.diff(bound, axis=0), axis=0)[1:, None]
    moving = np.fft.rfft(free, axis=0)[1:, None]
    assert not multicomponent.diffuses(multicomponent.diffusion(still))
    assert multicomponent.diffuses(multicomponent.diffusion(moving))


def test_unknown_diffusion_counts_as_none():
    assert multicomponent.diffusion(np.ones((50, 1, 3), dtype=complex)) is None
    assert multicomponent.diffusion(np.ones((500, 0, 3), dtype=complex)) is None
    assert not multicomponent.diffuses(None)
    assert multicomponent.independent_fluxes(np.zeros((100, 2, 3), dtype=complex)).shape == (2, 0)


def test_a_solid_is_not_corrected(dataset):
    """The Dataset's species only rattle; "multi" may still be asked for."""
    result = fluxan.green_kubo(dataset)
    assert result.components == "single"
    assert not result.notes
    asked = fluxan.green_kubo(dataset, components="multi")
    assert asked.components == "multi"
    assert "as was asked for" in str(asked)
    assert asked.kappa == pytest.approx(result.kappa, abs=2 * result.error)
