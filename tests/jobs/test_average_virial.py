"""The mean virial's flux: computed as it is defined, and noise alone in a solid."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import fluxan
from fluxan import mean_virial, with_mean_virial
from fluxan.errors import FluxanError, InputError
from fluxan.potentials.load import load_model, parse_model
from fluxan.system import Frame
from tests.exact_series import Series
from tests.lammps_helper import lammps_instance

ALLOY = """
units metal
atom_modify map array sort 0 0
lattice fcc 5.45
region box block 0 3 0 3 0 3
create_box 2 box
create_atoms 1 box
set group all type/fraction 2 0.5 4928459
mass 1 39.948
mass 2 83.798
pair_style lj/smooth/linear 8.5
pair_coeff 1 1 0.0103235 3.405
pair_coeff 2 2 0.0140 3.65
pair_coeff 1 2 0.01202 3.5275
timestep 0.005
velocity all create 40 87287 mom yes
fix move all nve
run 3000
"""


@pytest.fixture(scope="module")
def solid():
    """A random argon-krypton crystal at 20 K, 1200 frames in 30 ps, with its flux."""
    with lammps_instance() as lmp:
        lmp.commands_string(ALLOY)
        n = lmp.get_natoms()
        low, high = lmp.extract_box()[:2]
        numbers = np.where(lmp.numpy.extract_atom("type")[:n] == 1, 18, 36)
        frames = []
        for k in range(1200):
            lmp.command("run 5 pre no post no")
            x, v = (lmp.numpy.extract_atom(name)[:n].copy() for name in "xv")
            masses = np.where(numbers == 18, 39.948, 83.798)
            frames.append(Frame(x, v, np.diag(np.subtract(high, low)), numbers, masses, time=0.025 * k))
    text = load_model("shipped:ar-kr").describe().replace('truncation = "none"', 'truncation = "force"')
    model = parse_model(text, source="the shipped potential")
    return SimpleNamespace(frames=frames, model=model, flux=fluxan.decompose(frames, model, progress=False))


def test_as_it_is_defined(solid):
    frames = solid.frames[:12]
    flux = solid.flux.isel(time=slice(0, 12))
    virials = [fluxan.atomic_virial(frame, solid.model) for frame in frames[::4]]
    mean = mean_virial(frames, solid.model, every=4)
    np.testing.assert_allclose(mean, np.mean(virials, axis=0), atol=1e-12)
    removed = with_mean_virial(flux, frames, solid.model, every=4)["mean_virial"]
    assert removed.dims == ("time", "carrier", "xyz")
    for k, frame in enumerate(frames):
        for group, number in enumerate((18, 36)):
            mine = frame.numbers == number
            expected = np.einsum("jab,jb->a", mean[mine], frame.velocities[mine])
            np.testing.assert_allclose(removed.values[k, group], expected, atol=1e-12)
    given = with_mean_virial(flux, frames, virial=mean)
    np.testing.assert_array_equal(given["mean_virial"], removed)


def test_a_solid_loses_noise_and_keeps_its_conductivity(solid):
    flux = with_mean_virial(solid.flux, solid.frames, solid.model)
    before = fluxan.green_kubo(flux, components="single")
    after = fluxan.green_kubo(flux, components="single", remove="mean-virial")
    assert not after.diagnostics.diffusing
    assert after.correlation.value[0] < 0.6 * before.correlation.value[0]
    assert abs(after.kappa - before.kappa) < 2 * np.hypot(before.error, after.error)
    assert after.by_carrier.sum() == pytest.approx(after.kappa, rel=1e-12)


def test_a_monatomic_flux_of_velocities_is_round_off():
    """Σ v is zero but for round-off, which wanders: not a species that diffuses."""
    rng = np.random.default_rng(3)
    flux = Series(((1.0, 5),)).sample(4000, rng=rng)
    wandering = 1e-12 * np.cumsum(rng.standard_normal((4000, 1, 3)), axis=0)
    result = fluxan.green_kubo(flux, velocity=wandering, dt=1.0, volume=1.0, temperature=1.0, units="lj")
    assert result.components == "single"
    assert result.diagnostics.diffusion is None


def test_bounded_flux_does_not_change_kappa(dataset):
    """What is added as the derivative of something bounded is taken out again, to the last bit of κ."""
    rng = np.random.default_rng(2)
    rattle = 20 * np.diff(Series(((1.0, 4),)).sample(4001, rng=rng), axis=0)
    noisy = dataset.copy()
    noisy["kinetic"] = dataset["kinetic"] + rattle[:, None] * np.array([0.3, 0.7])[:, None]
    noisy["mean_virial"] = (("time", "carrier", "xyz"), rattle[:, None] * np.array([0.3, 0.7])[:, None])
    clean = fluxan.green_kubo(dataset, components="single")
    removed = fluxan.green_kubo(noisy, components="single", remove="mean-virial")
    assert removed.kappa == pytest.approx(clean.kappa, rel=1e-9)
    np.testing.assert_array_equal(removed.matrix, removed.cross)
    assert fluxan.green_kubo(noisy, components="single").correlation.value[0] > 10 * clean.correlation.value[0]


def test_refused(solid, dataset):
    frames, flux = solid.frames[:6], solid.flux.isel(time=slice(0, 6))
    with pytest.raises(InputError, match="holds no mean virial to remove: add it by"):
        fluxan.green_kubo(dataset, remove="mean-virial")
    with pytest.raises(InputError, match="give the model of the decomposition, or virial="):
        with_mean_virial(flux, frames)
    with pytest.raises(InputError, match=r"frame 0 of .* is not the one"):
        with_mean_virial(flux, frames[1:], solid.model)
    with pytest.raises(InputError, match="has 4 frames, the Dataset 6"):
        with_mean_virial(flux, frames[:4], solid.model)
    with pytest.raises(InputError, match="does not fit"):
        with_mean_virial(flux, frames, virial=np.zeros((5, 3, 3)))
    with pytest.raises(InputError, match="every is 0"):
        mean_virial(frames, solid.model, every=0)
    with pytest.raises(FluxanError):
        mean_virial([], solid.model)
