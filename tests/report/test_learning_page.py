"""The page of active learning: structure, escaping, its numbers against closed forms, and rounds without data."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy.stats import chi2, poisson

from fluxan.active.calibration import ForceCalibration
from fluxan.active.round_table import duration, number, status_rows
from fluxan.errors import InputError, OutputError
from fluxan.report.learning_figure import poisson_interval
from fluxan.report.learning_page import learning_page, plots, verdicts, write_learning_page

SETTINGS = {"status": "running", "tolerance": 0.1, "name": "<i>AgI</i>", "reference": "PBE & D3"}
BAD = "frame 7: <script>alert(1)</script> timed out"


def pairs(factor, n=20_000, seed=3):
    """Spreads and Gaussian errors that are `factor` times as large as the spreads say."""
    rng = np.random.default_rng(seed)
    spread = rng.lognormal(-3, 0.5, n)
    return spread, np.linalg.norm(rng.normal(size=(n, 3)), axis=1) * factor * spread / 3**0.5


def record(k, *, factor=1.8, n=30):
    spread, error = pairs(factor, n, seed=k)
    return {
        "round": k,
        "labels": {"total": 60 + 40 * k, "new": 40, "failed": 1, "failures": [f"{BAD} {k}"]},
        "composition": {"initial": 20, "<b>explored</b>": 40 * (k + 1)},
        "test": {"energy": 0.0012, "forces": 0.034 / (k + 1), "n_frames": 20},
        "new": {"energy": 0.004, "forces": 0.12},
        "uncertainty": {"mean": 0.05, "std": 0.01, "flux": {"Ag": 3.2, "I": 1.1}},
        "calibration": {"uncertainty": spread.tolist(), "error": error.tolist()},
        "exploration": {
            "time": 12.5,
            "frames": 625,
            "considered": 400,
            "accepted": 25,
            "energy_rejected": 3,
            "blow_ups": 1,
            "reasons": [f"run {k}: 2310 K > 2000 K"],
        },
        "events": {"hops": 3, "defects": 0},
        "seconds": {"train": 12.0, "explore": 130.0, "label": 4.0},
    }


def bare(k):
    """A round in which all that may be null or empty is."""
    return record(k) | {
        "labels": {"total": 20, "new": 0, "failed": 0, "failures": []},
        "new": None,
        "uncertainty": {"mean": 0.05, "std": 0.01, "flux": None},
        "calibration": {"uncertainty": [], "error": []},
        "events": None,
        "exploration": {"time": 0.0, "considered": 0, "accepted": 0, "blow_ups": 0, "reasons": []},
    }


class Elements(HTMLParser):
    """Checks that elements are closed in order, and collects tags and labels."""

    def __init__(self):
        super().__init__()
        self.open, self.labels, self.tags = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.handle_startendtag(tag, attributes)
        if tag not in {"meta", "br", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.labels += [found for name, found in attributes if name == "aria-label"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(text):
    elements = Elements()
    elements.feed(text)
    assert elements.open == []
    return elements


@pytest.fixture(scope="module")
def page():
    return learning_page([record(k) for k in range(3)], SETTINGS)


def test_the_page_is_whole_and_loads_nothing(page):
    elements = parsed(page)
    assert "script" not in elements.tags
    clips = re.findall(r'<clipPath id="([^"]+)"', page)
    assert len(set(clips)) == len(clips) > 5
    figures = ["errors", "uncertainty", "calibration", "events", "composition"]
    assert re.findall(r'<figure id="([a-z]+)"', page) == figures
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert any("goes from 34.0 to 11.3 meV/Å" in label for label in elements.labels)


def test_names_and_failures_are_escaped_and_all_are_listed(page):
    assert "<i>AgI</i>" not in page
    assert "<script>" not in page
    assert "<b>explored</b>" not in page
    assert "PBE &amp; D3" in page
    for k in range(3):
        assert f"Round {k}, {BAD} {k}</li>" in unescape(page)
        assert f"Round {k}, run {k}: 2310 K > 2000 K</li>" in unescape(page)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("running", "Running: no round is done yet"),
        ("converged", "Converged after 0 rounds"),
        ("budget spent", "Budget spent after 0 rounds, not converged"),
    ],
)
def test_the_status_is_the_headline(status, text):
    assert f'<p class="headline">{text}</p>' in learning_page([], SETTINGS | {"status": status})


def test_rounds_without_data_and_no_rounds_have_a_page():
    empty = learning_page([], SETTINGS)
    parsed(empty)
    assert "<svg" not in empty
    text = learning_page([bare(0)], SETTINGS | {"tolerance": None})
    parsed(text)
    assert re.findall(r'<figure id="([a-z]+)"', text) == ["errors", "uncertainty", "composition"]
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    assert "<details" not in text
    assert "Running: 1 round done" in text


def test_rounds_with_and_without_data_are_drawn_together():
    rounds = json.loads(json.dumps([bare(0), record(1, n=900), bare(2)]))
    for plot in plots(rounds, SETTINGS):
        figure = plot.figure()
        assert all(axes.has_data() for axes in figure.axes), plot.name
        assert plot.description, plot.name


@pytest.mark.parametrize("factor", [1.0, 1.8, 0.5])
def test_reliability_agrees_with_the_closed_form(factor):
    """Errors `factor` times too large: F(F⁻¹(p)/factor²) with F of χ² with three degrees of freedom."""
    found, levels = ForceCalibration(*pairs(factor)), np.linspace(0, 1, 21)
    exact = chi2.cdf(chi2.ppf(levels, 3) / factor**2, 3)
    assert found.fraction_inside(levels) == pytest.approx(exact, abs=0.013)  # Kolmogorov-Smirnov, p = 0.002
    assert found.fraction_inside(levels, factor) == pytest.approx(levels, abs=0.013)
    assert found.factor == pytest.approx(factor, rel=0.02)
    assert found.calibrated == (factor == 1.0)


def test_calibration_in_words():
    assert "1.8 times the uncertainties" in ForceCalibration(*pairs(1.8)).statement
    assert "too small and should be multiplied by 1.8" in ForceCalibration(*pairs(1.8)).statement
    assert "too large and should be multiplied by 0.5" in ForceCalibration(*pairs(0.5)).statement
    assert "have the right size" in ForceCalibration(*pairs(1.0)).statement
    assert "cannot be compared" in ForceCalibration.of_rounds([bare(0)]).statement


def test_atoms_without_spread_or_error():
    found = ForceCalibration(np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]))
    assert found.quantiles() == pytest.approx([0.0, 0.0, 1.0])
    part = {"uncertainty": [1.0, None, 2.0], "error": [1.0, 1.0, 3.0]}
    assert len(ForceCalibration.of_rounds([{"round": 0, "calibration": part}])) == 2
    with pytest.raises(InputError, match="round 4 has 1 uncertainties and 2 errors"):
        ForceCalibration.of_rounds([{"round": 4, "calibration": {"uncertainty": [1.0], "error": [1.0, 2.0]}}])


def test_poisson_intervals_have_their_tails():
    low, high = poisson_interval(np.array([0.0, 1.0, 30.0, np.nan]))
    assert low[0] == 0
    assert poisson.sf(np.array([0, 29]), low[1:3]) == pytest.approx(0.158655, rel=1e-6)
    assert poisson.cdf(np.array([0, 1, 30]), high[:3]) == pytest.approx(0.158655, rel=1e-6)
    assert np.isnan([low[3], high[3]]).all()


def test_the_table_shows_numbers_as_people_write_them(page):
    header, rows = status_rows([record(0, n=20_000), bare(1)])
    first, second = (dict(zip(header, row, strict=True)) for row in rows)
    assert first["labels"] == "60 (+40)"
    assert first["force RMSE (meV/Å)"] == "34.0"
    assert first["spread (meV/Å)"] == "50 ± 10"
    assert first["error/spread"] == "1.8"
    assert first["accepted"] == "25 of 400"
    assert first["time"] == "2.4 min"
    assert second["new frames (meV/Å)"] == second["error/spread"] == "–"
    assert "<td>25 of 400</td>" in page
    assert status_rows([]) == (header, [])


def test_numbers_and_durations():
    texts = {0.0: "0.00", 0.00123: "0.00123", 12.345: "12.3", 1234.5: "1234", 1e7: "1.00e7", -2e-9: "−2.00e−9"}
    assert {value: number(value) for value in texts} == texts
    assert [duration(s) for s in (0.4, 46, 600, 7200, 2e5)] == ["0.4 s", "46 s", "10.0 min", "2.0 h", "2.3 d"]


def test_warnings_come_first():
    found = verdicts([record(0, factor=1.0, n=5000)])
    assert [verdict.good for verdict in found] == [False, False, False, True]
    assert verdicts([]) == verdicts([bare(0)]) == []


def test_a_page_that_cannot_be_written_is_a_user_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_learning_page([], SETTINGS, tmp_path / "none" / "page.html")
    write_learning_page([], SETTINGS, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
