"""Lists of events, and what a model misses and invents, of processes with known rates."""

from __future__ import annotations

import numpy as np
import pytest

from fluxan.active.event_comparison import (
    EventTolerance,
    RelabelledEvent,
    compare_events,
    event_class,
    segments_without_events,
)
from fluxan.active.events import Event, EventList
from fluxan.errors import FileError, InputError


def hop(time, label="Cu", **changes):
    fields = {"time": time, "duration": 0.1, "kind": "hop", "atoms": (3,), "sites": ((3, 4),), "displacement": 2.5}
    return Event(**{**fields, "labels": (label,), **changes})


def process(rates, duration=100.0, seed=0, **changes):
    """Hops of elements at rates per ps."""
    rng = np.random.default_rng(seed)
    times = [
        (t, label) for label, rate in rates.items() for t in rng.uniform(0, duration, rng.poisson(rate * duration))
    ]
    return EventList(tuple(hop(t, label) for t, label in sorted(times)), 0.0, duration, 10, 11, **changes)


def relabelled(energy, force, n_frames=6):
    rng = np.random.default_rng(1)
    energies, forces = rng.normal(size=n_frames), rng.normal(size=(n_frames, 2, 3))
    bump = np.exp(-((np.arange(n_frames) - 3) ** 2.0))
    return RelabelledEvent(energies + 7 + energy * bump, energies, forces + force * bump[:, None, None], forces)


def test_round_trip(tmp_path):
    events = (hop(1.0), hop(2.5, "I", kind="defect", created=-1, barrier=0.3, displacement=None))
    before = EventList(events, 0.5, 9.0, 4, 5, (1,), (1, 2), (0, 1), {"Cu": 0.9}, ("frames are far apart",))
    before.write(tmp_path / "events.jsonl")
    assert EventList.read(tmp_path / "events.jsonl") == before
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 3


def test_files_that_are_no_lists(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        EventList.read(tmp_path / "none.jsonl")
    path = tmp_path / "bad.jsonl"
    for text, line in (("", 1), ("[1]", 1), ('{"start": 0}', 1)):
        path.write_text(text)
        with pytest.raises(FileError, match=f"line {line}: not a line"):
            EventList.read(path)
    EventList((hop(1.0),), 0, 2.0, 1, 1).write(path)
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(FileError, match="line 3: not a line"):
        EventList.read(path)


def test_rates_and_kinds():
    events = EventList((hop(1.0), hop(2.0, kind="defect")), 0.0, 10.0, 4, 4)
    assert events.rate().rate == 0.2
    assert events.of_kind("hop").rate(5.0).rate == 0.2
    with pytest.raises(InputError, match="choose 'hop' or 'defect'"):
        events.of_kind("jump")


def test_missed_and_excessive_classes():
    reference = process({"Cu": 0.5, "I": 0.3})
    model = process({"Cu": 0.5, "Br": 0.2}, duration=200.0, seed=1)
    found = compare_events(reference, model)
    classes = {c.name: c for c in found.classes}
    assert [c.name for c in found.classes] == ["hop of Cu", "hop of I", "hop of Br"]
    assert not classes["hop of Cu"].missed
    assert not classes["hop of Cu"].excessive
    assert classes["hop of I"].missed
    assert classes["hop of Br"].excessive
    assert found.missed.count == classes["hop of I"].n_reference
    assert found.missed.exposure == 1000.0
    assert found.missed.lower < 0.03 < found.missed.upper
    assert found.false is None


def test_equal_processes_are_rarely_called_different():
    wrong = 0
    for seed in range(200):
        lists = [process({"Cu": 0.1, "I": 0.05, "Br": 0.02}, seed=2 * seed + k) for k in range(2)]
        wrong += any(c.missed or c.excessive for c in compare_events(*lists).classes)
    assert wrong <= 16


def test_false_events():
    tolerance = EventTolerance(force_error=0.05, energy_error=0.02, multiple=3)
    cases = {0: relabelled(0, 0), 1: relabelled(0.05, 0.1), 2: relabelled(0.5, 0), 3: relabelled(0, 0.2)}
    assert [cases[k].is_false(tolerance) for k in range(4)] == [False, False, True, True]
    # k_B T is 0.026 eV at 300 K: the errors of energy are 0, 0.05, 0.5 and 0 eV.
    warm = EventTolerance(force_error=0.02, energy_error=0.02, multiple=3, temperature=300.0)
    assert [cases[k].is_false(warm) for k in range(4)] == [False, True, True, False]
    with pytest.raises(InputError, match="temperature of the model is -1"):
        EventTolerance(0.02, 0.02, temperature=-1)
    assert cases[3].force_error == pytest.approx(0.2)
    assert cases[2].energy_error == pytest.approx(0.5, rel=1e-3)
    model = process({"Cu": 0.2}, seed=4, warnings=("no sites",))
    found = compare_events(process({"Cu": 0.2}), model, relabelled=cases, tolerance=tolerance)
    assert (found.false.count, found.n_relabelled, found.warnings) == (2, 4, ("no sites",))
    with pytest.raises(InputError, match="tolerance=EventTolerance"):
        compare_events(model, model, relabelled=cases)
    with pytest.raises(InputError, match="event 99 was relabelled"):
        compare_events(model, model, relabelled={99: cases[0]}, tolerance=tolerance)
    with pytest.raises(InputError, match="force_error of the model is 0"):
        EventTolerance(force_error=0, energy_error=1)
    with pytest.raises(InputError, match="different numbers"):
        RelabelledEvent(np.zeros(3), np.zeros(2), np.zeros((3, 1, 3)), np.zeros((3, 1, 3)))


def test_classes_of_events():
    assert event_class(hop(0.0, labels=("I", "Cu"))) == "hop of Cu, I"
    assert event_class(hop(0.0, kind="defect", created=2)) == "defect created of Cu"
    assert event_class(hop(0.0, kind="defect", created=-1, labels=())) == "defect annihilated of atoms"


def test_segments():
    events = EventList((hop(3.0), hop(3.5), hop(8.0)), 0.0, 10.0, 4, 4)
    starts = [0, 1, 3.8, 4.8, 5.8, 6.8, 8.3]
    expected = [(start, start + 1) for start in starts]
    np.testing.assert_allclose(segments_without_events(events, 1.0, 0.2), expected)
    unfinished = EventList(events.events, 0.0, 10.0, 4, 4, unfinished=(1,))
    assert len(segments_without_events(events, 1.5, 0.3)) == 4
    assert len(segments_without_events(unfinished, 1.5, 0.3)) == 3
    assert len(segments_without_events(EventList((), 0.0, 0.3, 1, 1), 0.1, 0.0)) == 3
    with pytest.raises(InputError, match="expected a length > 0"):
        segments_without_events(events, 0.0, 1.0)
    for start, stop in segments_without_events(process({"Cu": 0.3}), 0.7, 0.4):
        assert all(stop <= e.time - 0.4 + 1e-9 or start >= e.end + 0.4 - 1e-9 for e in process({"Cu": 0.3}))
