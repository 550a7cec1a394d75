"""Tables as spreadsheets, scripts and compilers write them: units in names, quotes, comments, words for no number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import fluxan
from fluxan.errors import InputError, TrajectoryError
from fluxan.fluxfiles import read_flux

N = 40


@pytest.fixture
def flux():
    return np.random.default_rng(31).standard_normal((N, 3))


def table(path, flux, header, *, between=" ", step=0.5, end="\n"):
    """Time and flux in rows, with a line of names."""
    rows = (between.join(f"{value:.9g}" for value in (k * step, *row)) + end for k, row in enumerate(flux))
    path.write_text(header + "\n" + "".join(rows), encoding="utf-8")
    return path


def check(series, flux, dt):
    assert series.samples[:, 0] == pytest.approx(flux, rel=1e-7)
    assert series.time_step == pytest.approx(dt)


@pytest.mark.parametrize(
    ("header", "dt"),
    [
        ("# t/fs Jx Jy Jz", 5e-4),
        ("# Time (fs)  Jx  Jy  Jz", 5e-4),
        ("time[ps] jx[eV*A/ps] jy[eV*A/ps] jz[eV*A/ps]", 0.5),
        ("\ufeff# time Jx Jy Jz", 0.5),
        ("%time(ns) Jx Jy Jz", 500.0),
        ("# a run of 300 K\n# time Jx Jy Jz\n# fs Å", 0.5),
    ],
)
def test_units_in_names(tmp_path, flux, header, dt):
    path = table(tmp_path / "flux.dat", flux, header)
    check(read_flux(path, units="metal"), flux, dt)


@pytest.mark.parametrize("names", ["Fx Fy Fz", "pxx pxy pxz", "mux muy muz"])
def test_a_vector_without_the_name_of_a_flux_is_taken_with_a_warning(tmp_path, flux, names):
    path = table(tmp_path / "flux.dat", flux, f"# time {names}")
    record = read_flux(path, units="metal")
    check(record, flux, 0.5)
    assert "no column of flux.dat has the name of a heat flux" in record.warnings[0]
    assert not read_flux(path, units="metal", columns=names).warnings


@pytest.mark.parametrize("names", ["vx vy vz", "vcm[1] vcm[2] vcm[3]", "Px Py Pz"])
def test_velocities_and_momenta_are_not_taken_for_a_flux(tmp_path, flux, names):
    path = table(tmp_path / "flux.dat", flux, f"# time {names}")
    with pytest.raises(InputError, match=r"has no heat flux among its columns .*name its three columns: columns="):
        read_flux(path, units="metal")


def test_unknown_units_of_time(tmp_path, flux):
    path = table(tmp_path / "flux.dat", flux, "# time(moons) Jx Jy Jz")
    with pytest.raises(InputError, match=r"'moons' of its times is not known; give dt="):
        read_flux(path, units="metal")
    check(read_flux(path, units="metal", dt=0.02), flux, 0.02)


def test_units_of_volume_and_temperature(tmp_path, flux):
    columns = np.column_stack([flux, np.full(N, 310.0), np.full(N, 2.0)])
    path = table(tmp_path / "flux.dat", columns, "# time Jx Jy Jz T(K) V(nm^3)")
    series = read_flux(path, units="metal")
    assert (series.mean_temperature, series.mean_volume) == (pytest.approx(310.0), pytest.approx(2000.0))


@pytest.mark.parametrize("index", [False, True])
def test_pandas(tmp_path, flux, index):
    frame = pd.DataFrame({"time (ps)": 0.5 * np.arange(N), **dict(zip(("Jx", "Jy", "Jz"), flux.T, strict=True))})
    frame.to_csv(tmp_path / "flux.csv", index=index)
    check(read_flux(tmp_path / "flux.csv", units="metal"), flux, 0.5)


def test_quoted_names_and_semicolons(tmp_path, flux):
    path = table(tmp_path / "flux.csv", flux, '"time";"Jx";"Jy";"Jz"', between=";", end=";\n")
    check(read_flux(path, units="metal"), flux, 0.5)


def test_decimal_commas_are_refused(tmp_path, flux):
    path = table(tmp_path / "flux.csv", flux, "time;Jx;Jy;Jz", between=";")
    path.write_text(path.read_text().replace(".", ","))
    with pytest.raises(InputError, match="decimal commas; write points"):
        read_flux(path, units="metal")


def test_comments_after_rows(tmp_path, flux):
    path = table(tmp_path / "flux.dat", flux, "# time Jx Jy Jz", end="  # ok\n")
    check(read_flux(path, units="metal"), flux, 0.5)


@pytest.mark.parametrize("word", ["nan", "-NaN", "Infinity", "1.#QNAN", "-1.#IND00", "********", "inf"])
def test_words_in_place_of_numbers(tmp_path, flux, word):
    path = table(tmp_path / "flux.dat", flux, "# time Jx Jy Jz")
    lines = path.read_text().splitlines()
    lines[21] = f"10 1.0 {word} 2.0"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(TrajectoryError, match=r"line 22: column 3 is .*must be finite"):
        read_flux(path, units="metal")


def test_other_columns_further_down(tmp_path, flux):
    path = table(tmp_path / "flux.dat", flux, "# time Jx Jy Jz")
    with path.open("a") as file:
        file.writelines(f"{20 + 0.5 * k} 7 {a} {b} {c}\n" for k, (a, b, c) in enumerate(flux))
    with pytest.raises(TrajectoryError, match="line 42 has 5 columns, those before have 4"):
        read_flux(path, units="metal")


@pytest.mark.parametrize("shape", [(3, N), (2, N, 3)])
def test_transposed_arrays(tmp_path, shape):
    np.save(tmp_path / "flux.npy", np.random.default_rng(1).standard_normal(shape))
    with pytest.raises(InputError, match="is it transposed"):
        read_flux(tmp_path / "flux.npy", units="metal", dt=0.1)


def test_two_clocks_that_disagree(tmp_path):
    """A time step given for a Dataset that tells another one is used, and said to be another."""
    samples = np.random.default_rng(3).standard_normal((4000, 3))
    path = table(tmp_path / "flux.dat", samples, "# time Jx Jy Jz")
    result = fluxan.green_kubo(path, temperature=300, volume=1e4, units="metal", dt=0.05)
    assert any("dt=0.05 was given, but rows of the file are 0.5 apart" in text for text in result.warnings)
    assert not any(
        "was given" in w for w in fluxan.green_kubo(path, temperature=300, volume=1e4, units="metal").warnings
    )
