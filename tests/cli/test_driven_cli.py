"""`fluxan kappa`, `report` and `watch` on the flux of a run under a driving force."""

from __future__ import annotations

import json

import pytest

import fluxan
from tests.driven_runs import driven_file


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return driven_file(tmp_path_factory.mktemp("run") / "hnemd.nc", spectrum=True)


def test_kappa_prints_the_result_and_draws_it(run, path, tmp_path):
    status, out, err = run("kappa", path, "--plot", tmp_path / "kappa.svg")
    result = fluxan.driven_conductivity(path)
    assert status == 0
    assert out.startswith(f"κ = {result.kappa:.2f}")
    assert "along (0 0.6 0.8), F_e = 0.005/Å" in out
    assert "spectral heat current: " in out
    assert {"Si", "C", "sum"} <= {line.split()[0] for line in out.splitlines() if line}
    assert err == f"plotted: {tmp_path / 'kappa.svg'}\n"
    assert (tmp_path / "kappa.svg").read_text().count('id="axes_') == 6


def test_json_equals_the_function(run, path):
    status, out, _ = run("kappa", path, "--json", "--discard", "10", "--temperature", "200", "--compare", "none")
    facts = json.loads(out)
    result = fluxan.driven_conductivity(path, discard=10.0, temperature=200.0)
    assert status == 0
    assert (facts["kappa"], facts["error"]) == (result.kappa, result.error)
    assert facts["matrix"] == result.matrix.tolist()
    assert facts["method"] == "hnemd"
    assert 0 < facts["spectrum"]["half_below"] <= facts["spectrum"]["nine_tenths_below"] <= 25


def test_without_a_spectrum(run, tmp_path):
    _, out, _ = run("kappa", driven_file(tmp_path / "hnemd.nc"))
    assert "spectral" not in out
    assert "spectrum" not in json.loads(run("kappa", tmp_path / "hnemd.nc", "--json")[1])


def test_warnings_are_on_standard_error(run, tmp_path):
    _, out, err = run("kappa", driven_file(tmp_path / "hnemd.nc", heating=0.05))
    assert err.startswith("fluxan: warning: ")
    assert "the temperature is 15 K above the thermostat" in err
    assert "warning" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kappa", "{path}", "--method", "cepstral"], "--method is for fluxes in equilibrium"),
        (["kappa", "{path}", "--compare", "running"], "--compare is for fluxes in equilibrium"),
        (["kappa", "{path}", "--components", "multi"], "--components is for fluxes in equilibrium"),
        (["kappa", "{path}", "--dt", "0.1"], "--dt does not apply"),
        (["kappa", "{path}", "--volume", "-1"], "--volume is -1.0, expected a positive number"),
        (["kappa", "{path}", "--discard", "-1"], "--discard is -1.0, expected a time in ps"),
        (["kappa", "{path}", "--discard", "64"], "a mean with an error needs"),
        (["kappa", "{path}", "--plot", "kappa.docx"], "kappa.docx cannot be written"),
        (["kappa", "fluxan/data/arkr.nc", "--discard", "1"], "--discard 1 does not apply"),
        (["report", "{path}", "--trajectory", "t.nc", "--output", "r.html"], "--trajectory is for fluxes in"),
        (["report", "{path}", "--method", "stacie", "--output", "r.html"], "--method is for fluxes in"),
    ],
)
def test_what_does_not_apply_is_refused_in_one_line(run, path, arguments, message):
    status, out, err = run(*[argument.replace("{path}", str(path)) for argument in arguments])
    assert status == 2
    assert message in err
    assert err.splitlines()[-1].startswith("fluxan: error: ")
    assert "--plot" in arguments or (out, err.count("\n")) == ("", 1)


def test_report_is_a_page_with_plots(run, path, tmp_path):
    page = tmp_path / "report.html"
    status, out, _ = run("report", path, "--output", page, "--plots", tmp_path / "plots", "--discard", "3.2")
    assert status == 0
    assert f"wrote {page}" in out
    text = page.read_text(encoding="utf-8")
    assert "after 3.2 ps that are discarded" in text
    assert {"running.png", "spectral.svg"} <= {file.name for file in (tmp_path / "plots").iterdir()}


def test_watch_shows_the_running_value(run, tmp_path):
    path = driven_file(tmp_path / "hnemd.nc", planned=6400)
    status, out, _ = run("watch", path, "--once")
    result = fluxan.driven_conductivity(path)
    assert status == 0
    assert "3200 of 6400 (50%)" in out
    assert f"{result.kappa:.2f} ± " in out
    assert "W/(m K) along (0 0.6 0.8), F_e = 0.005/Å\n" in out
    assert "energy drift" not in out
    hot = run("watch", driven_file(tmp_path / "hot.nc", heating=0.05), "--once")[1]
    assert "the driving force is too large: the atoms are hotter than the thermostat" in hot
    short = run("watch", driven_file(tmp_path / "short.nc", n=20), "--once")[1]
    assert "not yet: the flux has 20 samples" in short
