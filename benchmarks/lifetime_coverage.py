"""Lifetimes of oscillators of known damping: how often errors and bounds cover, and how often flags are wrong.

``python -m benchmarks.lifetime_coverage [--realisations N] [--json FILE]``

Each row has a linewidth Γ times the length T of a block, and the number of periodograms that are averaged. The table
holds, in percent: how often the error of log τ covers at one and two standard deviations (68 and 95 are meant) and the
lower bound of 95 % holds; the mean deviation of log τ of all fits, and of those without a flag, which band averages
use; the scatter of log τ; and how often flags are set. One oscillator is one peak, so that "not one peak" is false.
Then two lines of equal width, some widths apart, are called "not one peak" rightly.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import machine
from fluxan.active.lifetimes import NOT_ONE_PEAK, UNRESOLVED, mode_lifetime
from fluxan.active.oscillator_fit import Periodogram, fit_oscillator
from tests.exact_oscillators import langevin, periodograms

if TYPE_CHECKING:
    from fluxan.active.lifetimes import ModeLifetime

TIME_STEP, N_SAMPLES = 0.02, 1000
DURATION = TIME_STEP * N_SAMPLES
OMEGA = 2 * np.pi * 4.3
WIDTHS, AVERAGES = (0.5, 1, 3, 10, 30), (3, 12, 48)
#: Distances of two lines in units of their full width 2Γ, at ΓT = 10.
SPLITTINGS = (0.5, 1, 1.5, 2)


def lifetimes(velocities: np.ndarray, n_averages: int) -> list[ModeLifetime]:
    """Lifetimes from groups of n_averages columns."""
    found = []
    for power in periodograms(velocities, n_averages, time_step=TIME_STEP).T:
        fit = fit_oscillator(Periodogram(power, TIME_STEP, N_SAMPLES, n_averages))
        assert fit is not None
        found.append(mode_lifetime(fit, OMEGA / (2 * np.pi), n_averages, DURATION))
    return found


def one_line(width: float, n_averages: int, realisations: int, rng: np.random.Generator) -> dict[str, float]:
    """Row of the table for ΓT = width."""
    gamma = width / DURATION
    velocities = langevin(OMEGA, gamma, (N_SAMPLES, realisations * n_averages), rng, time_step=TIME_STEP)
    begin = time.process_time()
    found = lifetimes(velocities, n_averages)
    seconds = time.process_time() - begin
    logs = np.log([entry.lifetime * 2 * gamma for entry in found])
    scaled = np.abs(logs) / [entry.relative_error for entry in found]
    plain = np.array([not entry.flags for entry in found])
    percent = {
        "covered_1": np.mean(scaled < 1),
        "covered_2": np.mean(scaled < 1.96),
        "bound_holds": np.mean([entry.lower_bound <= 0.5 / gamma for entry in found]),
        "bias": np.median(logs),
        "scatter": (np.quantile(logs, 0.84) - np.quantile(logs, 0.16)) / 2,
        "unresolved": np.mean([UNRESOLVED in entry.flags for entry in found]),
        "not_one_peak": np.mean([NOT_ONE_PEAK in entry.flags for entry in found]),
        "bias_without_flags": logs[plain].mean() if plain.sum() > 4 else np.nan,
    }
    rounded = {name: None if np.isnan(value) else round(float(100 * value), 1) for name, value in percent.items()}
    return {"gamma_t": width, "averages": n_averages, **rounded, "milliseconds": round(1e3 * seconds / realisations, 1)}


def two_lines(splitting: float, n_averages: int, realisations: int, rng: np.random.Generator) -> dict[str, float]:
    """How often two lines, `splitting` full widths apart, are called not one peak, in percent."""
    gamma, shape = 10 / DURATION, (N_SAMPLES, realisations * n_averages)
    ends = [langevin(OMEGA + s * splitting * gamma, gamma, shape, rng, time_step=TIME_STEP) for s in (-1, 1)]
    flagged = np.mean([NOT_ONE_PEAK in entry.flags for entry in lifetimes(ends[0] + ends[1], n_averages)])
    return {"splitting": splitting, "averages": n_averages, "not_one_peak": round(float(100 * flagged), 1)}


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--realisations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rng, n = np.random.default_rng(arguments.seed), arguments.realisations
    rows, pairs = [], []
    for width in WIDTHS:
        for n_averages in AVERAGES:
            rows.append(one_line(width, n_averages, n, rng))
            if len(rows) == 1:
                print("  ".join(rows[0]))
            print("  ".join(f"{value!s:>{len(name)}s}" for name, value in rows[-1].items()), flush=True)
    for splitting in SPLITTINGS:
        for n_averages in AVERAGES:
            pairs.append(two_lines(splitting, n_averages, n // 4, rng))
            print(pairs[-1], flush=True)
    if arguments.json:
        content = {
            "machine": machine(),
            "realisations": n,
            "seed": arguments.seed,
            "one_line": rows,
            "two_lines": pairs,
        }
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
