"""`fluxan kappa`, `spectrum` and `report` as a user meets them, on fluxan's files and other codes'."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fluxan
from tests.series import SERIES
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
    assert "at zero flux of mass" in out
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


DATA = Path(__file__).parents[1] / "fluxfiles" / "data"


def _hac(path, correlation, scale=(1.0, 1.0, 1.0), runs=1, seed=0):
    """Write a hac.out of C(t) and its running integral, directions times a scale, runs a few per cent apart."""
    rng = np.random.default_rng(seed)
    t = np.arange(400) * 0.005
    x, y, z = scale
    rows = []
    for _ in range(runs):
        factor = np.repeat([x / 2, x / 2, y / 2, y / 2, z], 1) * rng.normal(1, 0.03 if runs > 1 else 0, 5)
        integral = np.concatenate([[0.0], np.cumsum(0.5 * (correlation(t)[1:] + correlation(t)[:-1])) * 0.005])
        rows.append(np.column_stack([t, np.outer(correlation(t), factor), np.outer(integral, factor)]))
    np.savetxt(path, np.concatenate(rows))


def _optical(t):
    return 0.2 * np.exp(-t / 0.3) + np.exp(-t / 0.15) * np.cos(2 * np.pi * 12 * t)


def test_kappa_of_an_oscillating_correlation(run, tmp_path):
    """The first zero of C lies within a quarter of an optical period; the integral behind its decay is κ."""
    _hac(tmp_path / "hac.out", _optical)
    status, out, err = run("kappa", tmp_path / "hac.out", "--json")
    facts = json.loads(out)
    exact = 0.2 * 0.3 + 0.15 / (1 + (0.15 * 2 * np.pi * 12) ** 2)
    assert status == 0
    assert facts["kappa"] == pytest.approx(exact, rel=0.03)
    assert facts["error"] is None  # directions of one run are no independent runs
    _, out, err = run("kappa", tmp_path / "hac.out")
    assert "error unknown" in out
    assert "correlation function tells less than the flux" in err


def test_kappa_of_a_sheet_is_not_averaged_over_directions(run, tmp_path):
    _hac(tmp_path / "hac.out", _optical, scale=(1.0, 1.0, 1e-5), runs=4)
    facts = json.loads(run("kappa", tmp_path / "hac.out", "--json")[1])
    x, y, z = facts["kappa_xyz"]
    assert not facts["isotropic"]
    assert x == pytest.approx(y, rel=0.2)
    assert z < 1e-3 * x
    _, out, err = run("kappa", tmp_path / "hac.out")
    assert "in the plane xy" in out
    assert "along z" in err


def test_a_correlation_that_never_decays_is_warned_of(run, tmp_path):
    _hac(tmp_path / "hac.out", lambda t: np.cos(20 * t))
    status, out, err = run("kappa", tmp_path / "hac.out")
    assert status == 0
    assert "error unknown" in out
    assert "along x has not decayed: 69% of C(0) is left" in err


def test_a_run_that_blew_up_is_refused_and_can_be_cut(run):
    status, out, err = run("kappa", DATA / "crashed.log")
    assert (status, out) == (2, "")
    assert "Lost atoms" in err
    assert "--until-crash" in err
    status, out, err = run("kappa", DATA / "crashed.log", "--until-crash", "--json")
    assert status == 0
    assert json.loads(out)["kappa"] < 0.01


def test_normalised_columns_are_known_by_the_log_s_own_words(run):
    status, out, _ = run("kappa", DATA / "colname.log", "--json")
    assert status == 0
    assert json.loads(out)["kappa"] == pytest.approx(6.2e-4, rel=0.05)


@pytest.mark.parametrize("name", ["yaml.log", "time.log"])
def test_logs_in_yaml_and_with_times_are_read(run, name):
    status, out, _ = run("kappa", DATA / name, "--json")
    assert status == 0
    assert json.loads(out)["kappa"] == pytest.approx(0.18, rel=0.1)


def test_output_of_fix_ave_correlate_is_read(run):
    options = ["--units", "real", "--dt", "0.04", "--volume", "1000", "--temperature", "70"]
    status, out, err = run("kappa", DATA / "J0Jt.dat", *options)
    assert status == 0
    assert "error unknown" in out
    assert "correlation function tells less than the flux" in err


def test_a_mass_flux_among_the_columns_is_taken_out(run):
    options = ["--units", "metal", "--dt", "0.02", "--volume", "500", "--json"]
    facts = json.loads(run("kappa", DATA / "mass_flux.dat", *options)[1])
    assert facts["components"] == "multi"
    assert abs(facts["kappa"] - 0.0037) < 2 * facts["error"]
    assert facts["kappa_single"] > 0.007
    alone = json.loads(run("kappa", DATA / "mass_flux.dat", *options, "--mass-flux", "none")[1])
    assert alone["components"] == "single"


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


def test_report_is_one_page_that_needs_nothing(run, own, tmp_path):
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
        (["kappa", "{table}", "--units", "metal", *STATE, "--method", "guess"], "method is 'guess'"),
        (["kappa", "{table}", "--units", "metal", "--volume", "0"], "volume is 0.0, expected a positive number"),
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
