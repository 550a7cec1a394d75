"""The report on a run under a driving force: what it says for and against the result, and that it is whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fluxan.errors import InputError
from fluxan.report.driven_page import driven_plots, driven_verdicts, write_driven_report
from fluxan.report.driven_study import driven_study
from fluxan.report.verdicts import value
from tests.driven_runs import driven_file


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return driven_study(driven_file(tmp_path_factory.mktemp("run") / "hnemd.nc", spectrum=True))


def test_the_page_tells_result_force_and_origin(study, tmp_path):
    write_driven_report(replace(study, name="<i>run</i>"), tmp_path / "r.html", folder=tmp_path / "plots")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    result = study.result
    assert f"κ = {value(result.kappa, result.error)} W/(m K)" in text
    assert "along (0 0.6 0.8) under a driving force of 0.005/Å, at T = " in text
    assert "&lt;i&gt;run" in text
    assert "<i>run" not in text
    assert "Nothing speaks against this number" in text
    for row in (("atoms", "100"), ("thermostat", "300 K"), ("driving force", "0 0.003 0.004 1/Å")):
        assert "<tr><th>{}</th><td>{}</td></tr>".format(*row) in text
    assert "length</th><td>57.6 ps after 6.4 ps that are discarded" in text
    assert f"<td>spectral heat current</td><td>{value(study.spectrum.integral, study.spectrum.integral_error)}" in text
    for label, part, error in zip(result.labels, result.matrix, result.matrix_error, strict=True):
        cells = "".join(f"<td>{value(v, e)}</td>" for v, e in zip(part, error, strict=True))
        assert f"<tr><th>{label}</th>{cells}" in text
    for name in ("running", "spectral", "spectral-integral", "carriers", "matrix", "temperature"):
        assert f'<figure id="{name}">' in text
        assert (tmp_path / "plots" / f"{name}.png").stat().st_size > 5_000


def test_every_plot_has_something_on_it(study):
    for plot in driven_plots(study):
        figure = plot.figure()
        assert figure.axes[0].has_data(), plot.name
        assert figure.axes[0].get_xlabel(), plot.name
    one = replace(study, spectrum=None, result=replace(study.result, labels=("Si",)))
    assert [plot.name for plot in driven_plots(one)] == ["running", "temperature"]


def good(study):
    return [verdict.text for verdict in driven_verdicts(study) if verdict.good]


def test_evidence_for_a_sound_run(study):
    found = good(study)
    assert [text.partition(" ")[0] for text in found] == ["The", "The", "The", "No"]
    assert f"the error is {study.result.error:.2g} W/(m K)" in found[0]
    assert "from its 300 K" in found[1]
    assert "steady" in found[2]


@pytest.mark.parametrize(
    ("settings", "lost", "warning"),
    [
        ({"heating": 0.05}, "The thermostat removes", "The temperature is 15 K above the thermostat's"),
        ({"noise": 4.0}, "The flux fluctuates as", "times as much as in equilibrium"),
        ({"jump": 3.0}, "The response is steady", "The halves of the run differ: κ changes by "),
    ],
)
def test_evidence_turns_with_the_run(tmp_path, settings, lost, warning):
    study = driven_study(driven_file(tmp_path / "hnemd.nc", **settings))
    assert not any(text.startswith(lost) for text in good(study))
    first = driven_verdicts(study)[0]
    assert not first.good
    assert any(warning in verdict.text for verdict in driven_verdicts(study))
    write_driven_report(study, tmp_path / "r.html")
    assert "read below before you use this number" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_chance_rarely_speaks_against_a_sound_run(tmp_path):
    """Halves that differ by 2.5 standard errors: one run in 80."""
    warned = 0
    for seed in range(40):
        path = driven_file(tmp_path / f"{seed}.nc", n=640, seed=seed, parts=[[2.0]], labels=["Ar"])
        warnings = driven_study(path).result.warnings
        warned += any("halves" in text for text in warnings)
    assert warned <= 3


def test_a_flux_across_the_force_is_seen(study):
    result = study.result
    along = result.driving_force / result.strength
    across = np.array([1.0, 0.0, 0.0])
    turned = replace(study, result=replace(result, response=result.response + 9 * result.response_error * along))
    assert any(text.startswith("No flux across") for text in good(turned))
    turned = replace(study, result=replace(result, response=result.response + 9 * result.response_error * across))
    assert not any(text.startswith("No flux across") for text in good(turned))


def test_temperature_volume_and_discarded_time_are_taken(study, tmp_path):
    path = driven_file(tmp_path / "hnemd.nc")
    other = driven_study(path, reader={"temperature": 150.0, "volume": 4000.0, "form": "fluxan"}, discard=32.0).result
    assert (other.temperature, other.volume, other.discarded) == pytest.approx((150.0, 4000.0, 32.0))
    assert driven_study(path).spectrum is None
    with pytest.raises(InputError, match="dt= does not apply"):
        driven_study(path, reader={"dt": 0.1})
