"""`fluxan kappa`, `spectrum` and `report` as a user meets them, on fluxan's files and other codes'."""

from __future__ import annotations

import json

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


def test_kappa_of_a_correlation(run, tmp_path):
    t = np.arange(100) * 0.1
    parts = np.cos(t)[:, None] * [1.0, 0.0, 2.0, 0.0, 3.0]
    kappa = np.outer(t, [1.0, 0.5, 2.0, 0.0, 2.5])
    np.savetxt(tmp_path / "hac.out", np.column_stack([t, parts, kappa]))
    status, out, err = run("kappa", tmp_path / "hac.out", "--json")
    facts = json.loads(out)
    assert status == 0
    assert facts["cutoffs"] == [pytest.approx([1.6, 1.6, 1.6])]  # the first point behind π/2
    assert facts["kappa"] == pytest.approx(1.6 * (1.5 + 2 + 2.5) / 3)
    assert facts["error"] == pytest.approx(1.6 * np.std([1.5, 2, 2.5], ddof=1) / np.sqrt(3))
    _, out, err = run("kappa", tmp_path / "hac.out")
    assert out.startswith("κ = 3.20 ± 0.46 W/(m K)")
    assert "does not tell its error" in err


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
