"""GPUMD: `compute.out`, whose columns its `run.in` explains, and `hac.out`, a correlation function.

Formats: https://gpumd.org, output files compute.out and hac.out, keywords compute and time_step. Currents are
volume-extensive, in eV^(3/2)/u^(1/2); kinetic and potential part are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

from .table import Layout, open_lines, read_table
from .units import STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .record import ReadOptions

#: Columns per group of each quantity, in the order in which GPUMD writes them.
_WIDTHS = {"temperature": 1, "potential": 1, "force": 3, "virial": 3, "jp": 3, "jk": 3, "momentum": 3}


@dataclass(frozen=True)
class CurrentCorrelation:
    """Correlation functions of a heat current, one per run that was appended to the file.

    Attributes
    ----------
    times : (n,) ps
    values : (n_runs, n, 3) ⟨J_a(0) J_a(t)⟩ for a = x, y, z, (eV Å/ps)²
    conductivity : (n_runs, n, 3) running conductivity as GPUMD integrated it, W/(m K)
    """

    times: np.ndarray
    values: np.ndarray
    conductivity: np.ndarray


def compute_layout(path: Path, options: ReadOptions) -> Layout:
    """Layout of compute.out.

    Raises
    ------
    InputError
        What the columns are is not known, they hold no current, or their number does not fit.
    """
    quantities, interval = _quantities(path, options)
    n_columns = _n_columns(path)
    thermostats = 2 if "temperature" in quantities else 0
    per_group = sum(_WIDTHS[quantity] for quantity in quantities)
    n_groups, rest = divmod(n_columns - thermostats, per_group)
    if rest or not n_groups:
        raise InputError(
            f"{path} has {n_columns} columns, which does not fit {' '.join(quantities)} of any number of groups; "
            "give the quantities that its run.in asks for with quantities"
        )
    starts, at = {}, 0
    for quantity in quantities:
        starts[quantity] = at
        at += _WIDTHS[quantity] * n_groups
    parts = [starts[quantity] for quantity in ("jp", "jk") if quantity in starts]
    flux = tuple(tuple((s + g, s + n_groups + g, s + 2 * n_groups + g) for s in parts) for g in range(n_groups))
    names = ["total"] if n_groups == 1 else [f"group {group}" for group in range(n_groups)]
    missing = {"jp": "potential", "jk": "convective"}
    notes = [f"{path.name} has no {missing[part]} part of the flux ({part})" for part in missing if part not in starts]
    return Layout(
        format="GPUMD compute.out",
        flux=flux,
        labels=tuple(options.labels or names),
        flux_unit=STYLES["gpumd"].flux,
        dt=options.dt or interval,
        others={"temperature": (0, 1.0)} if thermostats and n_groups == 1 else {},
        grows=True,
        notes=tuple(notes),
    )


def read_correlation(path: str | Path) -> CurrentCorrelation:
    """Read GPUMD's hac.out.

    Raises
    ------
    InputError
        The file is no table of eleven columns, or runs in it have different times.
    """
    path = Path(path)
    if _n_columns(path) != 11:
        raise InputError(f"{path} has {_n_columns(path)} columns, a hac.out of GPUMD has 11")
    # The heat current's components: in-plane and out-of-plane parts add up, z has one column only.
    triples = (((1, 3, 5), (2, 4, 5)), ((6, 8, 10), (7, 9, 10)))
    table = read_table(path, Layout("GPUMD hac.out", triples, ("correlation", "conductivity"), clock=0, grows=True))
    table.samples[:, :, 2] *= 0.5  # z was added twice
    times = np.asarray(table.clock)
    begins = np.flatnonzero(np.diff(times, prepend=np.inf) < 0)
    n = int(begins[1]) if len(begins) > 1 else len(times)
    if len(times) % n or not np.array_equal(times, np.tile(times[:n], len(times) // n)):
        raise InputError(f"{path} holds runs with different correlation times; separate them")
    samples = table.samples.reshape(-1, n, 2, 3)
    return CurrentCorrelation(times[:n], samples[:, :, 0] * STYLES["gpumd"].flux ** 2, samples[:, :, 1])


def conductivity_at_first_dip(correlation: CurrentCorrelation) -> tuple[float, float, np.ndarray]:
    """Mean over runs and directions of GPUMD's running conductivity where the correlation first dips to zero.

    Returns
    -------
    mean, its standard error from the scatter, W/(m K), and the cutoffs (n_runs, 3), ps

    Raises
    ------
    InputError
        A correlation never dips to zero.
    """
    below = correlation.values <= 0
    if not below.any(axis=1).all():
        raise InputError(
            f"a correlation stays positive up to {correlation.times[-1]:g} ps; compute_hac must go further"
        )
    at = below.argmax(axis=1)
    values = np.take_along_axis(correlation.conductivity, at[:, None], axis=1)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size)), correlation.times[at]


def _quantities(path: Path, options: ReadOptions) -> tuple[list[str], float | None]:
    """Quantities in GPUMD's order, and ps between rows where run.in is there to say."""
    script = path.parent / "run.in"
    interval = None
    asked: Sequence[str] | None = options.quantities
    if script.is_file():
        words = _last_command(script, "compute")
        if asked is None and len(words) > 4:
            asked = words[4:]
        if len(words) > 4:
            step = _last_command(script, "time_step")
            femtoseconds = float(step[1]) if len(step) > 1 else 1.0
            interval = femtoseconds * STYLES["gpumd"].time * int(words[2]) * int(words[3])
    if asked is None:
        raise InputError(
            f"{path} does not say what its columns are, and there is no run.in beside it with a compute command; "
            "give quantities as in run.in, e.g. temperature,jp,jk"
        )
    unknown = [quantity for quantity in asked if quantity not in _WIDTHS]
    if unknown or not {"jp", "jk"} & set(asked):
        raise InputError(
            f"{path}: its quantities are {' '.join(asked)}, expected jp, jk or both among {' '.join(_WIDTHS)}"
        )
    return [quantity for quantity in _WIDTHS if quantity in asked], interval


def _last_command(script: Path, keyword: str) -> list[str]:
    lines = (line.split("#")[0].split() for line in script.read_text(encoding="utf-8", errors="replace").splitlines())
    found = [words for words in lines if words[:1] == [keyword]]
    return found[-1] if found else []


def _n_columns(path: Path) -> int:
    with open_lines(path) as file:
        return len(file.readline(1 << 20).split())
