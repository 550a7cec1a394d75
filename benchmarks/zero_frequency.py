"""Estimators of the zero-frequency limit on series whose answer is known: error, bias, coverage, time.

``python -m benchmarks.zero_frequency [--realisations N] [--lengths 100000 1000000] [--methods modes ...]
[--json FILE]``, and ``--table FILE ...`` for what such files hold, as docs/conductivity.md shows it.

Each row is one series and one estimator: the root mean square error over the Whittle–Cramér–Rao bound (of the true
model with all its parameters unknown), the bias in standard deviations of the estimates, how often the error bar of one
and two standard deviations covers (68 and 95 % are meant), and milliseconds from the spectrum to the estimate.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import machine
from fluxan.correlation import Correlator
from fluxan.errors import FluxanError
from fluxan.greenkubo import green_kubo
from fluxan.greenkubo.estimators.cepstral import cepstral
from fluxan.greenkubo.estimators.mixture import mixture
from fluxan.greenkubo.estimators.running import running_integral
from fluxan.greenkubo.estimators.stacie import stacie
from tests.exact_series import SERIES, SHAPES, Series, Shape, periodogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.greenkubo.estimators.estimate import Estimate

# Twenty times its slower time.
_SHORT_RUN = {"short run": 1000}
_RUNNING_LAGS = 20_000
ALL: dict[str, Series | Shape] = {**SERIES, **SHAPES}
# STACIE takes seconds; so many realisations of it tell enough.
_STACIE_REALISATIONS = 20


def _default(samples: np.ndarray) -> Callable[[], Estimate]:
    f, density, dof = periodogram(samples)
    return lambda: mixture(f, density, dof=dof)


def _member(name: str) -> Callable[[np.ndarray], Callable[[], Estimate]]:
    """One member of the default's mixture, alone."""

    def prepare(samples: np.ndarray) -> Callable[[], Estimate]:
        f, density, dof = periodogram(samples)
        return lambda: mixture(f, density, dof=dof, members=(name,))

    return prepare


def _cepstral(samples: np.ndarray) -> Callable[[], Estimate]:
    f, density, dof = periodogram(samples)
    return lambda: cepstral(f, density, dof=dof)


def _cepstral_papers(samples: np.ndarray) -> Callable[[], Estimate]:
    f, density, dof = periodogram(samples)
    return lambda: cepstral(f, density, dof=dof, cutoff=f[-1], correction=1)


def _stacie(samples: np.ndarray) -> Callable[[], Estimate]:
    f, density, dof = periodogram(samples)
    return lambda: stacie(f, density, dof=dof)


def _running(samples: np.ndarray) -> Callable[[], Estimate]:
    n, components = samples.shape
    padded = np.abs(np.fft.rfft(samples, 2 * n, axis=0)) ** 2
    lags = min(n, _RUNNING_LAGS)
    correlation = np.fft.irfft(padded.mean(1))[:lags] / np.arange(n, n - lags, -1)
    return lambda: running_integral(correlation, length=n, components=components)


def _correlator(samples: np.ndarray) -> Callable[[], Estimate]:
    """From what a multi-tau correlator keeps; with κ = S(0)/2 in these units."""
    correlator = Correlator(3, max_lag=4096, scheme="multitau", pairs="same-xyz")
    correlator.update(samples)
    state = {"volume": 1.0, "temperature": 1.0, "units": "lj"}
    return lambda: green_kubo(correlator, compare=(), **state).estimates["default"].scaled(2)


METHODS = {
    "default": _default,
    "modes": _member("modes"),
    "gaussian process": _member("gaussian process"),
    "relaxation times": _member("relaxation times"),
    "cepstral": _cepstral,
    "cepstral, papers": _cepstral_papers,
    "stacie": _stacie,
    "running": _running,
    "default, from a correlator": _correlator,
}


def measure(name: str, length: int, realisations: int, seed: int, methods: list[str]) -> list[dict[str, object]]:
    """Rows of one series: every method on the same realisations."""
    series = ALL[name]
    found: dict[str, list[tuple[float, float, float]]] = {method: [] for method in methods}
    for k in range(realisations):
        samples = series.sample(length, rng=np.random.default_rng([seed, length, k, *name.encode()]))
        for method in methods:
            if method != "stacie" or k < _STACIE_REALISATIONS:
                found[method].append(_timed(METHODS[method], samples))
    bound = _bound(series, length)
    return [_row(name, length, method, np.array(values), series.integral, bound) for method, values in found.items()]


def _bound(series: Series | Shape, length: int) -> float:
    """The bound, where there is a model and it is identified at all (ten modes of a power law are not)."""
    if isinstance(series, Shape):
        return float("nan")
    return series.bound(length) if len(series.modes) + len(series.oscillators) <= 5 else float("nan")


def _timed(prepare: Callable[[np.ndarray], Callable[[], Estimate]], samples: np.ndarray) -> tuple[float, float, float]:
    estimate = prepare(samples)
    begin = time.perf_counter()
    try:
        got = estimate()
    except FluxanError:
        return np.nan, np.nan, np.nan
    return got.value / 2, got.error / 2, 1e3 * (time.perf_counter() - begin)


def _row(name: str, length: int, method: str, values: np.ndarray, exact: float, bound: float) -> dict[str, object]:
    kept = values[np.isfinite(values[:, 0])]
    if len(kept) < 2:
        return {"series": name, "samples": length, "method": method, "realisations": len(values), "failed": 1.0}
    value, error, milliseconds = kept.T
    off = value - exact
    return {
        "series": name,
        "samples": length,
        "method": method,
        "realisations": len(values),
        "rmse_percent": 100 * float(np.sqrt(np.mean(off**2))) / exact,
        "rmse_over_bound": float(np.sqrt(np.mean(off**2))) / (exact * bound),
        "bias_over_sd": float(off.mean() / value.std()),
        "coverage_1": 100 * float(np.mean(np.abs(off) < error)),
        "coverage_2": 100 * float(np.mean(np.abs(off) < 2 * error)),
        "milliseconds": float(np.median(milliseconds)),
        "failed": 1 - len(kept) / len(values),
    }


def table(files: list[Path], methods: list[str]) -> str:
    """Markdown of stored rows: a line per series and length; of each method rmse over bound, bias and coverages."""
    rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]
    found = {(row["series"], row["samples"], row["method"]): row for row in rows if "rmse_percent" in row}
    lines = [f"| series | samples | {' | '.join(methods)} |", "| --- " * (len(methods) + 2) + "|"]
    for series, samples in dict.fromkeys((row["series"], row["samples"]) for row in rows):
        cells = [_cell(found.get((series, samples, method))) for method in methods]
        lines.append(f"| {series} | {samples:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: dict[str, float] | None) -> str:
    if row is None:
        return ""
    ratio = f"{row['rmse_over_bound']:.2f}" if np.isfinite(row["rmse_over_bound"]) else "–"
    return f"{ratio}, {row['bias_over_sd']:+.2f}, {row['coverage_1']:.0f}, {row['coverage_2']:.0f}"


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("series", nargs="*", default=list(ALL), help="names; all by default")
    parser.add_argument("--realisations", type=int, default=200)
    parser.add_argument("--lengths", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path, nargs="+", help="stored files to show; nothing is measured")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(arguments.table, arguments.methods))
        return
    rows = []
    print(f"{'series':16s} {'samples':>8s} {'method':24s}  rmse/%  /bound  bias/σ    1σ    2σ      ms  failed")
    for name in arguments.series:
        for length in _lengths(name, arguments.lengths):
            for row in measure(name, length, arguments.realisations, arguments.seed, arguments.methods):
                rows.append(row)
                _print(row)
            if arguments.json:  # as it goes: the whole table takes an hour
                content = {"machine": machine(), "realisations": arguments.realisations, "seed": arguments.seed}
                arguments.json.write_text(json.dumps(content | {"rows": rows}, indent=1) + "\n", encoding="utf-8")


def _lengths(name: str, asked: list[int]) -> list[int]:
    if name in SHAPES:
        return [SHAPES[name].length]
    return [_SHORT_RUN[name]] if name in _SHORT_RUN else asked


def _print(row: dict[str, object]) -> None:
    head = f"{row['series']:16s} {row['samples']:8d} {row['method']:24s}"
    if "rmse_percent" not in row:
        print(f"{head}  failed", flush=True)
        return
    print(
        f"{head} {row['rmse_percent']:7.2f} {row['rmse_over_bound']:7.2f} {row['bias_over_sd']:+7.2f} "
        f"{row['coverage_1']:5.1f} {row['coverage_2']:5.1f} {row['milliseconds']:7.1f} {row['failed']:7.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
