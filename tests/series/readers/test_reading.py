"""GPUMD, i-PI, plain tables, arrays, and fluxan's own files; bad input of every kind in one line."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

import fluxan
from fluxan.errors import FileError, FluxanError, InputError, TrajectoryError
from fluxan.fluxfiles import read_flux
from fluxan.series.readers.gpumd import read_correlation
from tests.systems import argon_krypton

#: Å/ps per sqrt(eV/u), from its definition.
GPUMD_VELOCITY = np.sqrt(constants.eV / constants.atomic_mass) * 1e-2


@pytest.fixture
def flux():
    return np.random.default_rng(8).standard_normal((50, 2, 3))


@pytest.fixture
def gpumd(tmp_path, flux):
    """Two groups, temperature, jp and jk, as GPUMD orders columns: fx_1 fx_2 fy_1 ...; two thermostat columns last."""
    jp, jk = flux, 0.1 * flux[::-1]
    columns = [np.full((50, 2), 300.0)]
    columns += [part.transpose(0, 2, 1).reshape(50, 6) for part in (jp, jk)]
    table = np.concatenate([*columns, np.zeros((50, 2))], axis=1)
    np.savetxt(tmp_path / "compute.out", table, fmt="%.10e")
    (tmp_path / "run.in").write_text("time_step 2  # fs\nensemble nve\ncompute 1 5 2 temperature jk jp\nrun 500\n")
    return tmp_path / "compute.out", (jp + jk) * GPUMD_VELOCITY


def test_gpumd_currents(gpumd):
    path, expected = gpumd
    series = read_flux(path)
    assert series.samples == pytest.approx(expected, rel=1e-8)
    assert series.time_step == pytest.approx(0.02)  # 2 fs, every 5 steps, mean of 2
    assert series.labels == ("group 0", "group 1")


def test_gpumd_without_its_script(gpumd):
    path, expected = gpumd
    (path.parent / "run.in").unlink()
    with pytest.raises(InputError, match=r"give quantities as in run\.in"):
        read_flux(path)
    series = read_flux(path, quantities="temperature,jp,jk", dt=0.02)
    assert series.samples == pytest.approx(expected, rel=1e-8)
    with pytest.raises(InputError, match="16 columns, which does not fit"):
        read_flux(path, quantities="temperature,jp,potential,virial")
    with pytest.raises(InputError, match="expected jp, jk or both"):
        read_flux(path, quantities="temperature,potential")
    assert "no convective part" in read_flux(path, quantities="jp,virial,temperature").notes[0]


def test_gpumd_correlation(tmp_path):
    """GPUMD's own conductivity is the integral of its correlation, over k_B T² V."""
    t = np.arange(200) * 0.05
    parts = np.exp(-t / 2)[:, None] * [1.0, 0.5, 2.0, 0.25, 3.0]
    unit = constants.eV**1.5 / np.sqrt(constants.atomic_mass)  # J m/s
    volume, temperature = 1e-26, 300.0
    scale = 1e-12 * unit**2 / (constants.k * temperature**2 * volume)
    kappa = scale * 0.05 * (np.cumsum(parts, axis=0) - 0.5 * (parts + parts[0]))
    for _ in range(2):
        with (tmp_path / "hac.out").open("a") as file:
            np.savetxt(file, np.column_stack([t, parts, kappa]))
    found = read_correlation(tmp_path / "hac.out")
    assert found.values.shape == (2, 200, 3)
    assert found.values[1, 0] == pytest.approx(np.array([1.5, 2.25, 3.0]) * GPUMD_VELOCITY**2)
    integral = 0.05 * (found.values[0].cumsum(axis=0) - 0.5 * (found.values[0] + found.values[0, 0]))
    metal = constants.eV**2 * 1e-20 / 1e-24 * 1e-12  # (eV Å/ps)² ps in SI
    assert found.conductivity[0] == pytest.approx(integral * metal / (constants.k * temperature**2 * volume))
    with pytest.raises(FileError, match="a correlation function, not a flux"):
        read_flux(tmp_path / "hac.out")


def test_ipi_properties(tmp_path, flux):
    header = (
        "# column   1     --> step : The current simulation time step.\n"
        "# column   2     --> time{picosecond} : The elapsed simulation time.\n"
        "# cols.    3-5   --> heat_flux{atomic_unit} : sent by the driver.\n"
        "# column   6     --> temperature{kelvin} : The current temperature.\n"
        "# column   7     --> volume : The volume of the cell box.\n"
    )
    steps = np.arange(50)
    table = np.column_stack([steps * 4, steps * 0.002, flux[:, 0], np.full(50, 310.0), np.full(50, 1000.0)])
    with (tmp_path / "simulation.out").open("w") as file:
        file.write(header)
        np.savetxt(file, table, fmt="%.12e")
    with pytest.raises(InputError, match="does not say what unit its flux has"):
        read_flux(tmp_path / "simulation.out")
    series = read_flux(tmp_path / "simulation.out", units="atomic")
    unit = constants.value("Hartree energy") * constants.value("atomic unit of velocity") / constants.eV * 1e-2
    assert series.samples[:, 0] == pytest.approx(flux[:, 0] * unit, rel=1e-6)
    assert series.time_step == pytest.approx(0.002)
    assert series.mean_temperature == pytest.approx(310)
    assert series.mean_volume == pytest.approx(1000 * 0.529177210903**3)


@pytest.mark.parametrize(
    ("header", "delimiter"), [("# time Jx Jy Jz T", " "), ("time,Jx,Jy,Jz,T", ","), ("#t;jx;jy;jz;T", ";")]
)
def test_tables_with_names(tmp_path, flux, header, delimiter):
    table = np.column_stack([np.arange(50) * 0.5, flux[:, 0], np.full(50, 300.0)])
    path = tmp_path / "flux.dat"
    np.savetxt(path, table, delimiter=delimiter, header=header, comments="", fmt="%.17g")
    series = read_flux(path, units="eV-A-fs")
    assert series.samples[:, 0] == pytest.approx(1e3 * flux[:, 0], rel=1e-14)
    assert series.time_step == pytest.approx(0.5e-3)
    assert series.mean_temperature == 300


def test_a_temperature_that_is_given_counts(tmp_path):
    flux = np.random.default_rng(3).standard_normal((400, 3))
    table = np.column_stack([flux, np.full(400, 300.0), np.full(400, 50.0)])
    np.savetxt(tmp_path / "flux.dat", table, header="Jx Jy Jz T V")
    one, two = (read_flux(tmp_path / "flux.dat", units="metal", dt=1.0, temperature=t) for t in (None, 600.0))
    assert (one.mean_temperature, two.mean_temperature) == (300, 600)
    ratio = fluxan.green_kubo(one).kappa / fluxan.green_kubo(two).kappa
    assert ratio == pytest.approx(4)


def test_tables_without_names(tmp_path, flux):
    path = tmp_path / "flux.txt"
    path.write_text("\n".join(" ".join(map(repr, row)) for row in flux[:, 0].tolist()))  # no end of the last line
    series = read_flux(path, units="metal", dt=0.01)
    assert np.array_equal(series.samples[:, 0], flux[:, 0])
    np.savetxt(path, np.column_stack([np.arange(50), flux[:, 0]]))
    with pytest.raises(InputError, match="4 columns without names; say which three"):
        read_flux(path, units="metal", dt=0.01)
    assert read_flux(path, units="metal", dt=0.01, columns="2,3,4").samples[:, 0] == pytest.approx(flux[:, 0])


def test_arrays(tmp_path, flux):
    np.save(tmp_path / "flux.npy", flux)
    series = read_flux(tmp_path / "flux.npy", units="lj", dt=0.01, volume=100, temperature=0.7, labels="a,b")
    assert np.array_equal(series.samples, flux)
    assert (series.units, series.time_step, series.mean_volume, series.mean_temperature) == ("lj", 0.01, 100, 0.7)
    assert series.labels == ("a", "b")
    records = np.zeros(50, dtype=[("time", "f8"), ("Jx", "f4"), ("Jy", "f4"), ("Jz", "f4")])
    records["time"] = np.arange(50) * 0.25
    for k, name in enumerate(["Jx", "Jy", "Jz"]):
        records[name] = flux[:, 0, k]
    np.save(tmp_path / "records.npy", records)
    series = read_flux(tmp_path / "records.npy", units="metal")
    assert np.array_equal(series.samples[:, 0], flux[:, 0].astype(np.float32))
    assert series.time_step == 0.25


def test_a_flux_per_volume_is_multiplied_by_it(tmp_path, flux):
    np.save(tmp_path / "flux.npy", flux[:, :1])
    with pytest.raises(InputError, match="flux per volume, and no volume; give volume"):
        read_flux(tmp_path / "flux.npy", units="metal", density=True)
    series = read_flux(tmp_path / "flux.npy", units="metal", density=True, volume=50.0)
    assert np.array_equal(series.samples, 50 * flux[:, :1])


def test_fluxan_files(tmp_path):
    frames = argon_krypton(6)
    dataset = fluxan.decompose(frames, fluxan.load_model("shipped:ar-kr"), output=tmp_path / "f.nc", progress=False)
    series = read_flux(tmp_path / "f.nc")
    assert series.labels == ("Ar", "Kr")
    assert series.samples == pytest.approx(fluxan.carrier_flux(dataset).values, rel=1e-13)
    assert series.mean_volume == pytest.approx(float(dataset["volume"].mean()))
    assert series.time_step == pytest.approx(float(np.diff(dataset["time"])[0]))


def write(name, content):
    def writer(folder):
        path = folder / name
        path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content, allow_pickle=True)
        return path

    return writer


def gapped(folder):
    times = np.delete(np.arange(20.0), 7)
    np.savetxt(folder / "f.txt", np.column_stack([times, np.ones((19, 3))]), header="time Jx Jy Jz")
    return folder / "f.txt"


BAD = np.ones((10, 3))
BAD[4, 1] = np.inf


@pytest.mark.parametrize(
    ("writer", "options", "error", "message"),
    [
        (lambda folder: folder / "none.log", {}, FileError, "no such file"),
        (write("f.txt", b""), {}, FileError, "is empty"),
        (write("f.bin", b"\0\1\2\3" * 50), {}, FileError, "binary file of unknown format"),
        (write("f.gz", b"\x1f\x8b\x08garbage"), {"units": "metal"}, FileError, "cut or damaged"),
        (write("f.txt", b"# nothing\n# at all\n"), {"units": "metal"}, InputError, "no rows of numbers"),
        (
            write("f.txt", b"1 2 3\n4 5\n"),
            {"units": "metal", "dt": 1},
            TrajectoryError,
            "line 2 has 2 columns, expected 3",
        ),
        (
            write("f.txt", b"1 2 3\n4 5 six\n"),
            {"units": "metal", "dt": 1},
            TrajectoryError,
            "line 2: column 3 is no number",
        ),
        (write("f.txt", b"1 2 3\n4 inf 6\n"), {"units": "metal"}, TrajectoryError, "line 2: column 2 is inf"),
        (write("f.txt", b"1 2 3\n"), {}, InputError, "does not name its units"),
        (write("f.txt", b"1 2 3\n"), {"units": "furlongs"}, InputError, "units is 'furlongs', expected one of"),
        (write("f.txt", b"1 2 3\n"), {"units": "metal", "dt": -1}, InputError, "dt is -1, expected a positive number"),
        (write("f.txt", b"1 2 3\n"), {"units": "metal", "form": "abinit"}, InputError, "form is 'abinit', expected"),
        (write("f.txt", b"ax ay az bx by bz\n1 2 3 4 5 6\n"), {"units": "metal"}, InputError, "several fluxes, a, b"),
        (gapped, {"units": "metal"}, TrajectoryError, "not at equal times: 8 follows 6, 1 apart elsewhere"),
        (write("f.npy", BAD), {"units": "metal"}, TrajectoryError, "row 4 is not finite"),
        (write("f.npy", np.ones(7)), {"units": "metal"}, InputError, r"array \(7,\) of float64; expected"),
        (write("f.npy", np.array([{}, 1], dtype=object)), {"units": "metal"}, FileError, "no NumPy array of numbers"),
        (write("f.npy", b"\x93NUMPY\x01\x00"), {"units": "metal"}, FileError, "no NumPy array of numbers"),
        (write("f.nc", b"CDF\x05\0\0\0"), {}, FileError, "not a NetCDF file that can be read"),
    ],
)
def test_bad_files_are_one_line(tmp_path, writer, options, error, message):
    path = writer(tmp_path)
    with pytest.raises(FluxanError, match=message) as raised:
        read_flux(path, **options)
    assert isinstance(raised.value, error)
    assert "\n" not in str(raised.value)
    assert path.name in str(raised.value) or options
