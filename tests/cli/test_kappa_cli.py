"""`fluxan kappa`, `spectrum` and `report` as a user meets them, on fluxan's files and other codes'."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fluxan
from tests.exact_series import SERIES
from tests.systems import argon_krypton

STATE = ["--temperature", "300", "--volume", "1000"]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Flux file of the trajectory that comes with fluxan."""
    path = tmp_path_factory.mktemp("flux") / "flux.nc"
    fluxan.decompose("fluxan/data/arkr.nc", output=path, progress=False)
    return path


@pytest.fixture
def table(tmp_path):
    """A series with a known integral, in a text file with names."""
    values = SERIES["B"].sample(20_000, rng=np.random.default_rng(5))
    path = tmp_path / "flux.dat"
    np.savetxt(path, np.column_stack([np.arange(20_000) * 0.5, values]), header="time Jx Jy Jz", fmt="%.17g")
    return path


def test_kappa_of_a_flux_file(run, own, tmp_path):
    status, out, err = run("kappa", own, "--plot", tmp_path / "kappa.svg")
    assert status == 0
    assert out.startswith("κ = 0.1")
    assert "at zero mass flux" in out
    rows = {words[0]: words[1:] for words in map(str.split, out.splitlines()) if words}
    assert {"default", "cepstral", "running", "Ar", "Kr", "sum"} <= rows.keys()
    assert err == f"plotted: {tmp_path / 'kappa.svg'}\n"
    assert "<svg" in (tmp_path / "kappa.svg").read_text()


def test_json_equals_the_function(run, own):
    status, out, _ = run("kappa", own, "--json", "--compare", "none")
    facts = json.loads(out)
    result = fluxan.green_kubo(own, compare=())
    assert status == 0
    assert facts["kappa"] == result.kappa
    assert facts["by_carrier"] == result.by_carrier.tolist()
    assert np.sum(facts["matrix"]) == pytest.approx(facts["kappa"], rel=1e-12)
    assert set(facts["estimates"]) == {"default"}
    assert facts["diagnostics"]["length"] == pytest.approx(40)


def test_kappa_of_another_codes_flux(run, table):
    status, out, _ = run("kappa", table, "--units", "lj", "--temperature", "2", "--volume", "10", "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["format"] == "table"
    # Time steps of 0.5, and κ* = S(0)/(2 V T²).
    assert facts["kappa"] == pytest.approx(0.5 * SERIES["B"].integral / (10 * 2**2), abs=3 * facts["error"])
    assert facts["error"] < 0.2 * facts["kappa"]


def test_options_reach_the_reader(run, table):
    kappas = []
    for options in (["--columns", "2,3,4"], ["--dt", "1.0"], ["--units", "eV-A-fs"]):
        _, out, _ = run("kappa", table, "--units", "metal", *STATE, *options, "--json", "--compare", "none")
        kappas.append(json.loads(out)["kappa"])
    # Time steps of 0.5 fs, and flux units of Å/fs.
    assert kappas[1] == pytest.approx(2 * kappas[0], rel=1e-2)
    assert kappas[2] == pytest.approx(1e3 * kappas[0], rel=1e-2)


def test_warnings_are_lines_on_standard_error(run, tmp_path):
    short = np.cumsum(np.random.default_rng(2).standard_normal((200, 3)), axis=0)
    np.save(tmp_path / "short.npy", short)
    status, out, err = run("kappa", tmp_path / "short.npy", "--units", "metal", "--dt", "0.01", *STATE)
    assert status == 0
    assert out.startswith("κ = ")
    lines = err.splitlines()
    assert lines
    assert all(line.startswith("fluxan: warning: ") for line in lines)
    assert any("times its slowest motion" in line for line in lines)


def test_kappa_along_each_direction(run, table, own, tmp_path):
    options = ["--units", "lj", "--temperature", "2", "--volume", "10"]
    _, out, _ = run("kappa", table, *options)
    assert out.splitlines()[1].startswith("κx = ")
    _, out, _ = run("kappa", own, "--json")
    facts = json.loads(out)
    assert facts["isotropic"] is True
    assert facts["kappa_xyz"] == np.diag(facts["tensor"]).tolist()
    assert facts["error_xyz"] == np.diag(facts["tensor_error"]).tolist()
    values = SERIES["one mode"].sample(20_000, rng=np.random.default_rng(5)) * np.sqrt([1, 0.05, 1])
    np.savetxt(tmp_path / "layers.dat", values, header="Jx Jy Jz")
    status, out, err = run("kappa", tmp_path / "layers.dat", "--dt", "1", *options)
    assert status == 0
    assert out.startswith("κ in the plane xz = ")
    assert "the conductivity depends on the direction; the mean over x, y and z" in err
    _, out, _ = run("kappa", tmp_path / "layers.dat", "--dt", "1", *options, "--json")
    facts = json.loads(out)
    assert facts["isotropic"] is False
    assert facts["kappa_xyz"][1] < 0.2 * facts["kappa_xyz"][0]
    assert facts["error_xyz"][0] < 0.3 * facts["kappa_xyz"][0]


def salt(folder):
    """A flux that a mass flux drives in part, and the mass flux, which diffuses."""
    heat, mass = (SERIES["one mode"].sample(6000, rng=np.random.default_rng(seed)) for seed in (1, 2))
    names = "Temp c_flux[1] c_flux[2] c_flux[3] c_vcm[1][1] c_vcm[1][2] c_vcm[1][3] a b c"
    table = np.column_stack([np.full(6000, 1000.0), heat + mass, 0.01 * mass, 0.01 * mass])
    np.savetxt(folder / "flux.dat", table, header=names, comments="", fmt="%.6g")
    return folder / "flux.dat"


def test_kappa_at_zero_mass_flux(run, tmp_path):
    options = [salt(tmp_path), "--units", "metal", "--dt", "0.02", "--volume", "500", "--compare", "none"]
    kappas = []
    for given in ([], ["--mass-flux", "c_vcm[1][*]"], ["--mass-flux", "a", "--mass-flux", "b", "--mass-flux", "c"],
                  ["--mass-flux", "8,9,10", "--components", "multi"], ["--mass-flux", "none"]):  # fmt: skip
        status, out, err = run("kappa", *options, *given, "--json")
        assert status == 0, err
        kappas.append(json.loads(out)["kappa"])
    assert kappas[1:4] == pytest.approx(kappas[:1] * 3, rel=1e-6)
    assert kappas[4] == pytest.approx(2 * kappas[0], rel=0.35)
    _, out, _ = run("kappa", *options)
    assert "c_vcm[1] of flux.dat was taken for the species' mass flux (--mass-flux none leaves it out)" in out
    assert "species diffuse: κ is that at zero mass flux; without that, κ would be" in out
    status, _, err = run("kappa", *options, "--columns", "c_flux[*],c_vcm[1][*]")
    assert status == 2
    assert "give it as --mass-flux c_vcm[1][1]" in err
    status, _, err = run("kappa", *options, "--mass-flux", "none", "--components", "multi")
    assert status == 2
    assert "--mass-flux with another code's file" in err


def test_a_run_that_blew_up(run, tmp_path):
    flux = np.random.default_rng(1).standard_normal((124, 3))
    flux[120:] *= [[1e8], [1e9], [1e10], [1e11]]
    rows = "".join(f"{5 * k} 100 5000 {x:.6g} {y:.6g} {z:.6g}\n" for k, (x, y, z) in enumerate(flux))
    path = tmp_path / "log.lammps"
    path.write_text(
        "LAMMPS (2 Aug 2023)\nunits metal\ncompute flux all heat/flux KE PE ST\nPer MPI rank memory allocation\n"
        f"Step Temp Volume c_flux[1] c_flux[2] c_flux[3]\n{rows}ERROR: Lost atoms: original 256 current 250\n"
    )
    status, out, err = run("kappa", path)
    assert (status, out) == (2, "")
    assert "--until-crash takes the samples before it" in err
    status, out, err = run("kappa", path, "--until-crash")
    assert status == 0
    assert out.startswith("κ = 0.00")
    assert "the run ended in ERROR: Lost atoms" in err
    assert "the first 120 of its 124 samples were taken" in err


def test_kappa_of_gpumds_correlation(run, tmp_path):
    """Optical modes over a slow relaxation; the file's own integral tends to 0.7."""
    t = 0.005 * (np.arange(400) + 0.5)
    c = 0.02 * np.exp(-t / 0.3) + np.exp(-t / 0.15) * np.cos(2 * np.pi * 12 * t)
    exact = 0.02 * 0.3 + 0.15 / (1 + (2 * np.pi * 12 * 0.15) ** 2)
    kappa = 0.7 / exact * 0.005 * np.cumsum(c)
    columns = [t, 0.9 * c, 0.1 * c, 0.9 * c, 0.1 * c, c, 0.9 * kappa, 0.1 * kappa, 0.9 * kappa, 0.1 * kappa, kappa]
    np.savetxt(tmp_path / "hac.out", np.column_stack(columns), fmt="%.6e")
    status, out, err = run("kappa", tmp_path / "hac.out", "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["kappa"] == pytest.approx(0.7, rel=0.02)
    assert facts["error"] is None
    assert facts["error_xyz"] == [None] * 3
    status, out, err = run("kappa", tmp_path / "hac.out")
    assert out.startswith("κ = 0.69")
    assert "one run, error unknown" in out
    assert "a correlation function tells less than the flux" in err
    (tmp_path / "hac_300K.out").write_text((tmp_path / "hac.out").read_text())
    assert run("kappa", tmp_path / "hac_300K.out")[1] == out
    (tmp_path / "other.txt").write_text((tmp_path / "hac.out").read_text())
    assert run("kappa", tmp_path / "other.txt", "--format", "gpumd-hac")[1] == out
    status, _, err = run("kappa", tmp_path / "hac.out", "--plot", tmp_path / "k.png")
    assert status == 2
    assert "k.png needs the flux itself" in err
    status, _, err = run("kappa", tmp_path / "hac.out", "--dt", "0.1")
    assert status == 2
    assert "--dt 0.1 does not apply to it" in err


def test_kappa_of_lammps_correlation(run, tmp_path):
    head = "# Time-correlated data for fix J\n# Timestep Number-of-time-windows\n# Index TimeDelta Ncount"
    block = "".join(f"{k + 1} {10 * k} {400 - k} " + 3 * f"{np.exp(-k / 10):.5f} " + "\n" for k in range(100))
    names = " c_flux[1]*c_flux[1] c_flux[2]*c_flux[2] c_flux[3]*c_flux[3]\n4000 100\n"
    (tmp_path / "J0Jt.dat").write_text(head + names + block)
    options = ["--units", "real", "--volume", "1000", "--temperature", "70"]
    status, out, _ = run("kappa", tmp_path / "J0Jt.dat", *options, "--dt", "0.04", "--json")
    assert status == 0
    # ∫ = 10 lags of 0.04 ps, 1 (kcal/mol Å/fs)².
    k_b, flux, volume = 1.380649e-23, 4184 / 6.02214076e23 * 1e5, 1000e-30
    assert json.loads(out)["kappa"] == pytest.approx(flux**2 * 0.4e-12 / (k_b * 70**2 * volume), rel=0.01)
    assert run("kappa", tmp_path / "J0Jt.dat", *options, "--timestep", "0.004", "--json")[1] == out
    for missing, told in ((4, "give --temperature"), (2, "give --volume")):
        status, _, err = run("kappa", tmp_path / "J0Jt.dat", *options[:missing], "--dt", "0.04")
        assert status == 2
        assert told in err
    status, _, err = run("spectrum", tmp_path / "J0Jt.dat", *options)
    assert status == 2
    assert "is a correlation function, not a flux" in err


def test_plausibility_of_a_fluxan_file_is_checked(run, own, tmp_path):
    with fluxan.open_flux(own) as dataset:
        whole = dataset.load()
    potential = whole["potential"].copy()
    potential[-3:] *= 1e6
    broken = whole.assign(potential=potential)
    from fluxan.report.study import study_dataset

    assert any("the run blew up" in warning for warning in study_dataset(broken).result.warnings)
    assert not any("blew up" in warning for warning in study_dataset(whole).result.warnings)
    _, _, err = run("kappa", own, "--temperature", "1e5")
    assert "the temperature is 1e+05 K: is --units right?" in err


def test_options_that_do_not_apply_to_a_file(run, own):
    status, _, err = run("kappa", own, "--units", "real")
    assert status == 2
    assert "--units does not apply to it" in err


def test_spectrum_by_band(run, own, tmp_path):
    files = ["--output", tmp_path / "s.csv", "--plot", tmp_path / "s.png"]
    status, out, _ = run("spectrum", own, "--bands", "0,1,2,25.1", "--json", *files)
    facts = json.loads(out)
    assert status == 0
    with fluxan.open_flux(own) as dataset:
        whole = float((fluxan.total_flux(dataset) ** 2).mean())
    # Bands leave nothing out: their sum is the mean square itself (Parseval).
    assert sum(sum(band["mean_square"].values()) for band in facts["bands"]) == pytest.approx(whole, rel=1e-10)
    header, *rows = (tmp_path / "s.csv").read_text().splitlines()
    assert header == "frequency_THz,total,error,Ar,Kr"
    assert len(rows) == 1001
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"
    _, out, _ = run("spectrum", own)
    assert "cm⁻¹" in out


def test_report_is_one_self_contained_page(run, own, tmp_path):
    page = tmp_path / "report.html"
    status, out, _ = run("report", own, "--output", page, "--plots", tmp_path / "plots")
    assert status == 0
    assert f"wrote {page}" in out
    text = page.read_text(encoding="utf-8")
    for word in ("<script", "<link", "<img", "@import", 'src="'):
        assert word not in text
    assert "κ = 0.1" in text
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    for name in ("flux", "correlation", "cumulative", "limit", "spectrum", "matrix", "carriers", "estimates"):
        assert {f"{name}.png", f"{name}.svg"} <= names
        assert f'<figure id="{name}">' in text


def test_report_with_its_trajectory_shows_the_mean_virial(run, tmp_path):
    frames = argon_krypton(100)
    fluxan.convert(frames, tmp_path / "traj.nc", model_text=fluxan.load_model("shipped:ar-kr").describe(), double=True)
    fluxan.decompose(tmp_path / "traj.nc", output=tmp_path / "flux.nc", progress=False)
    page = tmp_path / "report.html"
    status, _, _ = run("report", tmp_path / "flux.nc", "--output", page, "--trajectory", tmp_path / "traj.nc")
    assert status == 0
    assert '<figure id="gauge">' in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kappa", "none.nc"], "none.nc: no such file"),
        (["kappa", "{table}"], "does not name its units"),
        (["kappa", "{table}", "--units", "metal"], "temperature"),
        (["kappa", "{table}", "--units", "metal", *STATE, "--method", "guess"], "--method is 'guess'"),
        (["kappa", "{table}", "--units", "metal", "--volume", "0"], "--volume is 0.0, expected a positive number"),
        (["kappa", "{own}", "--plot", "kappa.docx"], "kappa.docx cannot be written"),
        (["kappa", __file__], "test_kappa_cli.py"),
        (["spectrum", "{own}", "--bands", "5,1"], "two or more frequencies that increase"),
        (["spectrum", "{own}", "--output", "no/folder/s.csv"], "no/folder/s.csv cannot be written"),
        (["report", "{own}", "--output", "flux.nc"], "expected a name that ends in .html"),
        (["report", "{own}", "--output", "no/folder/r.html"], "no/folder/r.html cannot be written"),
    ],
)
def test_an_error_is_one_line(run, own, table, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*[a.replace("{own}", str(own)).replace("{table}", str(table)) for a in arguments])
    assert status == 2
    assert err.startswith("fluxan: error: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize("damage", ["version", "cut"])
def test_a_damaged_flux_file_is_one_line(run, own, tmp_path, damage):
    content = own.read_bytes()
    damaged = content.replace(b"fluxan flux 1", b"fluxan flux 9") if damage == "version" else content[:700]
    (tmp_path / "flux.nc").write_bytes(damaged)
    status, out, err = run("kappa", tmp_path / "flux.nc")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "flux.nc" in err
    assert ("expected 'fluxan flux 1'" if damage == "version" else "not a NetCDF file") in err


@pytest.mark.parametrize("command", ["kappa", "spectrum", "report"])
def test_help_shows_an_example(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"Example: fluxan {command}" in out
