"""Mass fluxes, momenta and species' velocities in other codes' files: κ at zero mass flux."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants
from scipy.signal import lfilter

import fluxan
from fluxan.errors import InputError
from fluxan.fluxfiles import read_flux
from fluxan.units import BOLTZMANN, CONDUCTIVITY

N = 6000
STATE = {"units": "metal", "dt": 0.02, "volume": 500.0}
#: κ per spectral density of one sample: 1/(2 V k_B T²) times the time step.
FACTOR = CONDUCTIVITY / BOLTZMANN * 0.02 / (2 * 500.0 * 1000.0**2)


def relaxation(rng, a):
    """AR(1) of unit variance; its S(0) is (1 + a)/(1 − a) per sample."""
    noise = rng.standard_normal((N + 500, 3)) * np.sqrt(1 - a * a)
    return lfilter([1], [1, -a], noise, axis=0)[500:]


@pytest.fixture(scope="module")
def mixture():
    """Energy flux that a mass flux drives in part, the mass flux, and κ at zero mass flux and without regard to it."""
    rng = np.random.default_rng(11)
    heat, mass = relaxation(rng, 0.8), relaxation(rng, 0.9)
    return heat + mass, mass, 9 * FACTOR, (9 + 19) * FACTOR


def table(folder, names, *columns):
    values = np.column_stack([np.full(N, 1000.0), *columns])
    np.savetxt(folder / "flux.dat", values, header="Temp " + names, comments="", fmt="%.6g")
    return folder / "flux.dat"


@pytest.mark.parametrize(
    "names",
    ["c_vcm[1][1] c_vcm[1][2] c_vcm[1][3]", "v_vcmx v_vcmy v_vcmz", "c_mflux[1] c_mflux[2] c_mflux[3]",
     "momentum_x momentum_y momentum_z", "vcm[1][1] vcm[1][2] vcm[1][3]", "c_mom[1] c_mom[2] c_mom[3]"],
)  # fmt: skip
@pytest.mark.parametrize("scale", [1.0, 1e-7, 1e9])
def test_a_mass_flux_is_taken_out_whatever_its_unit(tmp_path, mixture, names, scale):
    flux, mass, true, naive = mixture
    result = fluxan.green_kubo(read_flux(table(tmp_path, "Jx Jy Jz " + names, flux, scale * mass), **STATE))
    assert result.components == "multi"
    assert result.kappa == pytest.approx(true, abs=3 * result.error)
    assert result.error < 0.2 * true
    assert result.kappa_single == pytest.approx(naive, rel=0.3)
    stem = names.split()[0][:-3] if names.endswith("]") else names.split()[0][:-1]
    assert any(stem.rstrip("_") in note and "mass_flux=none leaves it out" in note for note in result.notes)


@pytest.mark.parametrize("given", ["a,b,c", "5,6,7", ["a,b,c"], ["a", "b", "c"]])
def test_columns_are_named_by_the_user(tmp_path, mixture, given):
    flux, mass, true, _ = mixture
    path = table(tmp_path, "Jx Jy Jz a b c", flux, mass)
    assert read_flux(path, **STATE).velocity is None
    record = read_flux(path, mass_flux=given, **STATE)
    assert record.velocity[:, 0] == pytest.approx(mass, rel=1e-5, abs=1e-5)
    result = fluxan.green_kubo(record)
    assert result.kappa == pytest.approx(true, abs=3 * result.error)


@pytest.mark.parametrize("names", ["px py pz", "v[1] v[2] v[3]", "v_velx v_vely v_velz", "com_vx com_vy com_vz"])
def test_possible_mass_fluxes_are_noted(tmp_path, mixture, names):
    flux, mass, _, _ = mixture
    record = read_flux(table(tmp_path, "Jx Jy Jz " + names, flux, mass), **STATE)
    assert record.velocity is None
    assert any(f"give mass_flux={','.join(names.split())}" in note for note in record.notes)


def test_two_species_and_their_redundant_sum(tmp_path, mixture):
    """Momentum is conserved: the second species' says no more than the first's, and takes nothing away."""
    flux, mass, true, _ = mixture
    names = "Jx Jy Jz " + " ".join(f"c_vcm[{k}][{i}]" for k in (1, 2) for i in (1, 2, 3))
    path = table(tmp_path, names, flux, mass, -0.4 * mass)
    both, one = (fluxan.green_kubo(read_flux(path, mass_flux=m, **STATE)) for m in (None, "c_vcm[1][*]"))
    assert read_flux(path, **STATE).species == ("c_vcm[1]", "c_vcm[2]")
    assert both.kappa == pytest.approx(true, abs=3 * both.error)
    assert both.kappa == pytest.approx(one.kappa, rel=0.1)
    with pytest.raises(InputError, match="mass_flux= names 2 columns, expected three per species"):
        read_flux(path, mass_flux="1,2", **STATE)


def test_three_species(tmp_path):
    rng = np.random.default_rng(5)
    heat, first, second = relaxation(rng, 0.8), relaxation(rng, 0.9), relaxation(rng, 0.7)
    names = "Jx Jy Jz " + " ".join(f"c_vcm[{k}][{i}]" for k in (1, 2) for i in (1, 2, 3))
    path = table(tmp_path, names, heat + first - 2 * second, first + second, 1e3 * second)
    result = fluxan.green_kubo(read_flux(path, **STATE))
    assert result.kappa == pytest.approx(9 * FACTOR, abs=3 * result.error)


def test_a_total_momentum_of_zero_is_ignored(tmp_path, mixture):
    flux, _, _, naive = mixture
    noise = 1e-16 * np.random.default_rng(1).standard_normal((N, 3))
    path = table(tmp_path, "Jx Jy Jz c_vcm[1][1] c_vcm[1][2] c_vcm[1][3]", flux, noise)
    record = read_flux(path, **STATE)
    assert record.velocity is None
    assert "c_vcm[1] is zero up to round-off" in record.notes[0]
    result = fluxan.green_kubo(record)
    assert (result.components, result.kappa) == ("single", pytest.approx(naive, rel=0.3))


def test_the_mass_flux_is_refused_as_a_carrier(tmp_path, mixture):
    flux, mass, _, _ = mixture
    path = table(tmp_path, "c_flux[1] c_flux[2] c_flux[3] c_vcm[1][1] c_vcm[1][2] c_vcm[1][3]", flux, mass)
    with pytest.raises(InputError, match=r"momentum or mass flux.*give it as mass_flux=c_vcm\[1\]\[1\]"):
        read_flux(path, columns="c_flux[*],c_vcm[1][*]", **STATE)
    # Its name has "flux" in it, yet it does not compete with the flux.
    path = table(tmp_path, "c_flux[1] c_flux[2] c_flux[3] mass_flux_x mass_flux_y mass_flux_z", flux, mass)
    assert read_flux(path, **STATE).species == ("mass_flux",)


def test_mass_flux_none_and_components_single(tmp_path, mixture):
    flux, mass, _, naive = mixture
    path = table(tmp_path, "Jx Jy Jz c_vcm[1][1] c_vcm[1][2] c_vcm[1][3]", flux, mass)
    assert read_flux(path, mass_flux="none", **STATE).velocity is None
    result = fluxan.green_kubo(read_flux(path, **STATE), components="single")
    assert result.kappa == pytest.approx(naive, rel=0.3)
    assert any("mass fluxes were not projected out" in warning for warning in result.warnings)


def test_a_run_too_short_to_show_diffusion(tmp_path):
    rng = np.random.default_rng(2)
    flux, mass = rng.standard_normal((2, 120, 3))
    values = np.column_stack([np.full(120, 1000.0), flux, mass])
    np.savetxt(tmp_path / "f.dat", values, header="Temp Jx Jy Jz c_vcm[1][1] c_vcm[1][2] c_vcm[1][3]", comments="")
    result = fluxan.green_kubo(read_flux(tmp_path / "f.dat", **STATE))
    assert any("too short to tell whether species diffuse" in warning for warning in result.warnings)


def test_momenta_of_gpumd(tmp_path, mixture):
    """Columns of two groups; momenta come last, behind jk, whatever the order of the command."""
    flux, mass, true, _ = mixture
    unit = np.sqrt(constants.eV / constants.atomic_mass) * 1e-2  # Å/ps per sqrt(eV/u)
    parts = [np.stack([w * flux / unit, (1 - w) * flux / unit], axis=2).reshape(N, 6) for w in (0.3, 0.9)]
    momentum = np.stack([mass, -mass], axis=2).reshape(N, 6)
    np.savetxt(tmp_path / "compute.out", np.column_stack([0.5 * parts[0], 0.5 * parts[1], momentum]))
    (tmp_path / "run.in").write_text("time_step 2\ncompute 1 5 2 momentum jk jp\nrun 60000\n")
    record = read_flux(tmp_path / "compute.out", temperature=1000.0, volume=500.0)
    assert record.time_step == pytest.approx(0.02)
    assert record.velocity[:, 0] == pytest.approx(mass)
    assert record.species == ("momentum of group 0", "momentum of group 1")
    result = fluxan.green_kubo(record)
    assert result.components == "multi"
    assert result.kappa == pytest.approx(true, abs=3 * result.error)
    alone = read_flux(tmp_path / "compute.out", temperature=1000.0, volume=500.0, mass_flux="none")
    assert alone.velocity is None
    with pytest.raises(InputError, match="in GPUMD's own units; units=metal does not apply"):
        read_flux(tmp_path / "compute.out", units="metal")


def test_a_log_and_an_average_of_lammps(tmp_path, mixture):
    flux, mass, _, _ = mixture
    names = "c_flux[1] c_flux[2] c_flux[3] c_vcm[1][1] c_vcm[1][2] c_vcm[1][3]"
    body = "".join(f"{5 * k} 1000 500 {' '.join(f'{x:.6g}' for x in (*flux[k], *mass[k]))}\n" for k in range(300))
    log = tmp_path / "log.lammps"
    log.write_text(
        "LAMMPS (2 Aug 2023)\nunits metal\ncompute flux all heat/flux KE PE ST\ncompute cc all chunk/atom type\n"
        f"compute vcm all vcm/chunk cc\nPer MPI rank memory allocation\n Step Temp Volume {names}\n{body}"
        "Loop time of 1.0 on 1 procs for 1500 steps with 256 atoms\n"
    )
    assert read_flux(log).species == ("c_vcm[1]",)
    (tmp_path / "ave.txt").write_text(f"# Time-averaged data for fix a\n# TimeStep Temp Volume {names}\n{body}")
    record = read_flux(tmp_path / "ave.txt", units="metal", timestep=0.001)
    assert record.velocity == pytest.approx(read_flux(log).velocity)
    assert (record.mean_temperature, record.mean_volume) == (1000, 500)
