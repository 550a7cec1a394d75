"""The report: what it says, that it is safe and whole, and what its plots show."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import fluxan
from fluxan.greenkubo.result import Curve
from fluxan.report.figures import plots
from fluxan.report.page import write_report
from fluxan.report.panels import plateau
from fluxan.report.study import Study, study_file
from fluxan.report.verdicts import value, verdicts
from fluxan.series.heat_flux_series import HeatFluxSeries
from tests.exact_series import SERIES


@pytest.fixture(scope="module")
def study():
    """Two channels of a series with a known integral, in reduced units."""
    rng = np.random.default_rng(4)
    channels = np.stack([SERIES["B"].sample(10_000, rng=rng) for _ in range(2)], axis=1)
    record = HeatFluxSeries.of_samples(
        channels, 1.0, ("<b>A</b>", "B & C"), units="lj", volume=np.ones(1), given_temperature=1.0
    )
    result = fluxan.green_kubo(record)
    return Study("<i>flux</i>.npy", record, result, facts={"file": "<i>flux</i>.npy"})


class Balanced(HTMLParser):
    """Checks that elements are closed in order."""

    void = ("meta", "br", "hr")

    def __init__(self):
        super().__init__()
        self.open, self.ids = [], []

    def handle_starttag(self, tag, attributes):
        self.ids += [found for name, found in attributes if name == "id"]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.ids += [found for name, found in attributes if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(study, path)
    return path.read_text(encoding="utf-8")


def test_the_page_is_whole_and_nothing_in_it_is_a_names_own_html(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "<b>A</b>" not in page
    assert "<i>flux</i>" not in page
    assert "&lt;b&gt;A&lt;/b&gt;" in page
    assert "B &amp; C" in page


def test_plots_on_one_page_do_not_share_clips(page):
    """Identifiers of clip paths must differ between plots, or one plot is cut by another's frame."""
    clips = re.findall(r'<clipPath id="([^"]+)"', page)
    assert len(clips) > 5
    assert len(set(clips)) == len(clips)


def test_the_page_agrees_with_the_result(study, page):
    assert f"κ = {value(study.result.kappa, study.result.error)}" in page
    for name, estimate in study.result.estimates.items():
        assert f"<td>{name}</td><td>{value(estimate.value, estimate.error)}</td>" in page
    assert "Nothing speaks against this number" in page


def test_warnings_come_first(study, tmp_path):
    warned = replace(study, result=replace(study.result, warnings=("the run is too short",)))
    assert [v.good for v in verdicts(warned)][:2] == [False, True]
    assert verdicts(warned)[0].text == "The run is too short."
    write_report(warned, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "1 warning: read below" in text
    assert "Nothing speaks against" not in text


@pytest.mark.parametrize(
    ("number", "error", "text"),
    [
        (0.12345, 0.0182, "0.123 ± 0.018"),
        (152.34, 3.21, "152.3 ± 3.2"),
        (1523.4, 32.1, "1523 ± 32"),
        (-0.05, 0.011, "−0.050 ± 0.011"),
        (2.0, 0.0, "2 ± 0"),
        (1.0, np.inf, "1 ± unknown"),
    ],
)
def test_values_show_two_digits_of_their_error(number, error, text):
    assert value(number, error) == text


def test_the_plateau_is_the_longest_interval_on_a_logarithmic_scale(study):
    x = np.arange(0.0, 101.0)
    inside = np.where((x >= 2) & (x <= 10) | (x >= 60) & (x <= 80), 1.0, 5.0)
    flat = replace(study.result, kappa=1.0, error=0.1, cumulative=Curve(x, inside, np.zeros(101)))
    assert plateau(flat) == (2.0, 10.0)
    assert plateau(replace(flat, kappa=9.0)) is None


def test_spectrum_in_units_of_kappa_tends_to_kappa(study):
    spectrum = study.spectrum()
    low = (spectrum.frequencies > 0) & (spectrum.frequencies < 2e-3)
    assert spectrum.labels == study.record.labels
    mean = spectrum.total[low].mean() * study.factor
    assert mean == pytest.approx(2 * SERIES["B"].integral, rel=0.25)
    assert spectrum.parts.sum(axis=1) == pytest.approx(spectrum.total, rel=1e-10)


def test_every_plot_has_something_on_it(study):
    names = []
    for plot in plots(study):
        figure = plot.figure()
        assert any(axes.has_data() for axes in figure.axes), plot.name
        assert all(axes.get_xlabel() for axes in figure.axes[:1]), plot.name
        names.append(plot.name)
    assert names == ["flux", "correlation", "cumulative", "limit", "spectrum", "carriers", "matrix", "estimates"]


def test_result_draws_itself(study, tmp_path):
    study.result.plot().savefig(tmp_path / "kappa.png")
    assert (tmp_path / "kappa.png").stat().st_size > 10_000


def test_notes_of_the_reader_are_on_the_page(tmp_path):
    np.save(tmp_path / "f.npy", SERIES["B"].sample(2_000, rng=np.random.default_rng(1)))
    reader = {"units": "lj", "dt": 1.0, "volume": 1.0, "temperature": 1.0}
    found = study_file(tmp_path / "f.npy", reader=reader)
    assert found.result.unit == "reduced"
    assert found.facts["format"] == "array"
