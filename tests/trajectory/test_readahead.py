"""The reading thread: order, errors in their turn, and no thread left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from fluxan.errors import TrajectoryError
from fluxan.trajectory import read_ahead


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "fluxan-read-ahead"]


def test_everything_in_order():
    assert list(read_ahead(range(1000), depth=3)) == list(range(1000))
    assert not readers()


def test_reads_ahead_but_no_further():
    taken = []

    def source():
        for k in range(100):
            taken.append(k)
            yield k

    stream = read_ahead(source(), depth=3)
    assert next(stream) == 0
    deadline = time.monotonic() + 10
    while len(taken) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert len(taken) == 5  # one given, three waiting, one in the reader's hand
    stream.close()
    assert not readers()


def test_error_comes_after_what_was_read():
    def source():
        yield from range(5)
        raise TrajectoryError("frame 5 is broken")

    found = []
    with pytest.raises(TrajectoryError, match="frame 5 is broken"):
        found.extend(read_ahead(source()))
    assert found == list(range(5))
    assert not readers()


def test_source_is_closed_when_the_consumer_stops():
    closed = threading.Event()

    def source():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    stream = read_ahead(source())
    next(stream)
    stream.close()
    assert closed.wait(10)
    assert not readers()


def test_interpreter_exits_with_a_reader_under_way():
    code = (
        "import itertools\nfrom fluxan.trajectory import read_ahead\n"
        "stream = read_ahead(itertools.count())\nnext(stream)\nprint('done')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "done"
    assert result.stderr == ""
