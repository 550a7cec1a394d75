"""Correlators against other programs, one thread, all measured in one run.

``python -m benchmarks.correlators [--json FILE]``

Times are processor time of this thread, so that other jobs on the machine count less; contestants take turns and the
fastest of each counts. Unit: ns per sample and channel, or per step where a step has many channels.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import machine
from fluxan.correlation import Correlator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REPEATS = 7
LAGS = 2000
LONG = 20000  # multi-tau

_MEMORY = """
import sys
from pathlib import Path
import numpy as np
from fluxan.correlation import Correlator
correlator = Correlator(3, max_lag=2000, scheme=sys.argv[1])
block = np.random.default_rng(0).standard_normal((10_000, 3))
for count in (100, 900):
    for _ in range(count):
        correlator.update(block)
    # Now, not at the peak: loading compiled code leaves a peak that would hide a growth.
    print(int(Path("/proc/self/statm").read_text().split()[1]) / 256)
"""


def fastest(cases: Mapping[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Fastest run of each case in ns per unit; a case is a function and the number of units it does."""
    for run, _ in cases.values():
        run()
    seconds = dict.fromkeys(cases, np.inf)
    for _ in range(REPEATS):
        for name, (run, _) in cases.items():
            begin = time.thread_time()
            run()
            seconds[name] = min(seconds[name], time.thread_time() - begin)
    return {name: 1e9 * seconds[name] / units for name, (_, units) in cases.items()}


def updating(n: int, n_channels: int, **settings: object) -> Callable[[], object]:
    """Feed one block to a correlator that has seen a million samples, again and again."""
    correlator = Correlator(n_channels, **settings)
    samples = np.random.default_rng(0).standard_normal((n, n_channels))
    while correlator.n_samples < 1_000_000:
        correlator.update(samples)
    return lambda: correlator.update(samples)


def blocks() -> dict[str, float]:
    """Whole blocks, ns per sample and channel."""
    import multipletau
    import tidynamics

    n = 2**18
    series = np.random.default_rng(0).standard_normal(n)

    def numpy_fft() -> np.ndarray:
        spectrum = np.fft.rfft(series, 2 * n)
        return np.fft.irfft(np.abs(spectrum) ** 2)[: LAGS + 1]

    return fastest(
        {
            "multi-tau, 1 channel": (updating(n, 1, max_lag=LONG, scheme="multitau", pairs="auto"), n),
            "multi-tau, 9 channels": (updating(n, 9, max_lag=LONG, scheme="multitau", pairs="auto"), 9 * n),
            "multipletau": (lambda: multipletau.autocorrelate(series, m=32, normalize=False), n),
            "linear, 1 channel": (updating(n, 1, max_lag=LAGS, pairs="auto"), n),
            "linear, 9 channels": (updating(n, 9, max_lag=LAGS, pairs="auto"), 9 * n),
            "numpy FFT": (numpy_fft, n),
            "tidynamics": (lambda: tidynamics.acf(series), n),
        }
    )


def matrices() -> dict[str, float]:
    """12 x 12 channels, ns per step; multipletau takes the pairs one after another, on a shorter series."""
    import multipletau

    n, short = 2**16, 2**12
    channels = np.random.default_rng(0).standard_normal((12, short))

    def pair_by_pair() -> None:
        for a in channels:
            for b in channels:
                multipletau.correlate(a, b, m=32, normalize=False)

    return fastest(
        {
            "multi-tau, 32 lags per level": (updating(n, 12, max_lag=LONG, scheme="multitau"), n),
            "multi-tau, 16 lags per level": (updating(n, 12, max_lag=LONG, scheme="multitau", points_per_level=16), n),
            "multi-tau, same xyz": (updating(n, 12, max_lag=LONG, scheme="multitau", pairs="same-xyz"), n),
            "linear": (updating(n, 12, max_lag=LAGS), n),
            "linear, same xyz": (updating(n, 12, max_lag=LAGS, pairs="same-xyz"), n),
            "multipletau, 144 pairs": (pair_by_pair, short),
        }
    )


def single_samples() -> dict[str, float]:
    """One sample at a time from Python, ns per sample; the loop itself counts separately."""
    n = 20000
    cases: dict[str, tuple[Callable[[], object], int]] = {}

    def feed(update: Callable[[np.ndarray], object], samples: np.ndarray) -> None:
        for sample in samples:
            update(sample)

    for n_channels in (1, 3, 9):
        samples = np.random.default_rng(0).standard_normal((n, n_channels))
        cases[f"empty loop, {n_channels} channels"] = (lambda x=samples: feed(lambda _: None, x), n)
        for scheme in ("multitau", "linear"):
            for pairs in ("auto", "all"):
                correlator = Correlator(n_channels, max_lag=LAGS, scheme=scheme, pairs=pairs)
                cases[f"{scheme}, {n_channels} channels, {pairs}"] = (
                    lambda c=correlator, x=samples: feed(c.update, x),
                    n,
                )
    return fastest(cases)


def memory() -> dict[str, float]:
    """Growth of resident memory from 1e6 to 1e7 samples, MiB."""
    growth = {}
    for scheme in ("multitau", "linear"):
        run = subprocess.run([sys.executable, "-c", _MEMORY, scheme], capture_output=True, text=True, check=True)
        before, after = map(float, run.stdout.split())
        growth[scheme] = after - before
    return growth


def main() -> None:
    """Measure, print, and write a file where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    results: dict[str, object] = {}
    for title, measure in (
        ("ns per sample and channel", blocks),
        ("12 x 12 channels, ns per step", matrices),
        ("one sample at a time, ns per sample", single_samples),
        ("growth of resident memory from 1e6 to 1e7 samples, MiB", memory),
    ):
        results[title] = measure()
        print(title)
        for name, value in results[title].items():
            print(f"  {name:34s} {value:10.2f}")
    load = os.getloadavg()[0]
    print(f"load of the machine at the end: {load:.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "load": load, **results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
