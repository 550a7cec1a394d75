"""What notebooks and prompts show of fluxan's objects: facts that fit a screen, escaped in HTML."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

import fluxan
from fluxan.trajectory import as_trajectory
from tests.systems import argon_krypton

FRAME = next(argon_krypton(1))
EVIL = "<script>alert('x')</script>\nrun"


def flux_of(labels):
    n = len(labels)
    return fluxan.Flux(np.zeros((n, n, 3)), *np.ones((3, n, 3)), labels=labels, potential_energy=-1.5, route="local")


def correlator():
    made = fluxan.Correlator(300, max_lag=64, pairs="same-xyz", time_step=0.02)
    made.update(np.zeros((700, 300)))
    return made


def conductivity():
    samples = np.random.default_rng(0).normal(size=(4096, 3))
    return fluxan.green_kubo(samples, dt=0.01, volume=1000.0, temperature=300.0, compare=())


def evil_trajectory(tmp_path):
    path = tmp_path / "a<b>&c.nc"
    fluxan.convert(argon_krypton(3), path)
    return fluxan.open_trajectory(path)


OBJECTS = {
    "frame": (lambda _: FRAME, ("Ar16Kr16", "32", "Å", " K", " ps")),
    "cluster": (lambda _: FRAME.replace(cell=None, velocities=None), ("none", "no velocities")),
    "slab": (lambda _: FRAME.replace(pbc=(True, True, False)), ("open along c",)),
    "unknown": (lambda _: FRAME.replace(numbers=np.zeros(32)), ("X32",)),
    "flux": (lambda _: flux_of(("Ar", "Kr")), ("eV Å/ps", "Ar, Kr", "-1.5 eV", "local")),
    "flux of many": (lambda _: flux_of(tuple(map(str, range(500)))), ("500 in all",)),
    "flux of words": (lambda _: flux_of((EVIL, "b")), ("alert",)),
    "frames": (lambda _: as_trajectory([FRAME] * 4), ("4", "Ar16Kr16", "Å")),
    "file": (evil_trajectory, ("3", "Ar16Kr16", "AMBER")),
    "correlator": (lambda _: correlator(), ("300", "64 samples (1.28 ps)", "700", "0.02 ps")),
    "conductivity": (lambda _: conductivity(), ("±", "W/(m K)", "300 K", "1000 Å³")),
}


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data + "|"


@pytest.mark.parametrize("name", OBJECTS)
def test_shown_in_a_line_and_in_a_table(name, tmp_path):
    make, expected = OBJECTS[name]
    shown = make(tmp_path)
    line, page = repr(shown), Tags()
    page.feed(shown._repr_html_())
    assert "\n" not in line
    assert len(line) < 600
    assert "array(" not in line
    assert set(page.tags) == {"table", "caption", "tr", "th", "td"}
    for words in expected:
        assert words in line
        assert words in page.text


def test_a_trajectory_is_not_used_up_by_being_shown():
    trajectory = as_trajectory(iter([FRAME, FRAME.replace(time=1.0), FRAME.replace(time=2.0)]))
    repr(trajectory)
    trajectory._repr_html_()
    assert [frame.time for frame in trajectory] == [0.0, 1.0, 2.0]


def test_display_of_an_unreadable_trajectory_gives_the_reason(tmp_path):
    path = tmp_path / "run.nc"
    fluxan.convert(argon_krypton(3), path)
    trajectory = fluxan.open_trajectory(path)
    trajectory._records = lambda _: _broken()
    assert "trouble gone" in repr(trajectory)


def _broken():
    raise fluxan.errors.TrajectoryError("gone")
    yield
