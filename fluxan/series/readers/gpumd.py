"""GPUMD: `compute.out`, whose columns its `run.in` defines, and `hac.out`, a correlation function.

Formats: https://gpumd.org, output files compute.out and hac.out, keywords compute and time_step. Currents are
volume-extensive, in eV^(3/2)/u^(1/2); kinetic and potential part are added.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError
from fluxan.series.readers.flux_correlation import FluxCorrelation, refuse_others
from fluxan.series.readers.soundness import questions
from fluxan.series.readers.table import TableLayout, ends_whole, open_lines, read_table
from fluxan.series.readers.unit_styles import STYLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fluxan.series.readers.read_options import ReadOptions
    from fluxan.series.readers.table import Triple

#: Fraction by which a given time between rows may differ from that of run.in.
_MAX_DIFFERENCE = 1e-3
#: Columns per group of each quantity, in the order in which GPUMD writes them.
_WIDTHS = {"temperature": 1, "potential": 1, "force": 3, "virial": 3, "jp": 3, "jk": 3, "momentum": 3}


def compute_layout(path: Path, options: ReadOptions) -> TableLayout:
    """Layout of compute.out.

    Raises
    ------
    InputError
        The columns are not known, they hold no heat current, or their number does not fit.
    """
    quantities, interval = _quantities(path, options)
    n_columns = _n_columns(path)
    thermostats = 2 if "temperature" in quantities else 0
    per_group = sum(_WIDTHS[quantity] for quantity in quantities)
    n_groups, rest = divmod(n_columns - thermostats, per_group)
    if options.units not in {None, "gpumd"}:
        raise InputError(f"{path} is in GPUMD's own units; units={options.units} does not apply")
    if options.columns is not None:
        raise InputError(f"{path}: its columns are given by quantities=; columns= does not apply")
    if list(options.mass_flux or ["none"]) not in (["none"], ["momentum"]):
        raise InputError(f"{path}: the mass flux of GPUMD's compute.out is its momentum; mass_flux=momentum or none")
    if rest or not n_groups:
        raise InputError(
            f"{path} has {n_columns} columns, which does not fit {' '.join(quantities)} of any number of groups; "
            "give the quantities that its run.in asks for: quantities="
        )
    starts, at = {}, 0
    for quantity in quantities:
        starts[quantity] = at
        at += _WIDTHS[quantity] * n_groups
    parts = [starts[quantity] for quantity in ("jp", "jk") if quantity in starts]

    def triple(first: int, group: int) -> Triple:
        return first + group, first + n_groups + group, first + 2 * n_groups + group

    flux = tuple(tuple(triple(first, group) for first in parts) for group in range(n_groups))
    momentum = range(n_groups) if "momentum" in starts and list(options.mass_flux or ()) != ["none"] else ()
    names = ["total"] if n_groups == 1 else [f"group {group}" for group in range(n_groups)]
    differs = interval is not None and options.dt is not None and abs(options.dt / interval - 1) > _MAX_DIFFERENCE
    doubts = (f"dt={options.dt:.4g} was given, but by run.in rows are {interval:.4g} apart",) if differs else ()
    missing = {"jp": "potential", "jk": "convective"}
    notes = [f"{path.name} has no {missing[part]} part of the flux ({part})" for part in missing if part not in starts]
    return TableLayout(
        format="GPUMD compute.out",
        flux=flux,
        labels=tuple(options.labels or names),
        flux_unit=STYLES["gpumd"].flux,
        dt=options.dt or interval,
        velocity=tuple(triple(starts["momentum"], group) for group in momentum),
        species=tuple(f"momentum of {names[group]}" for group in momentum),
        others={"temperature": (0, 1.0)} if thermostats and n_groups == 1 else {},
        grows=True,
        until_crash=options.until_crash,
        notes=tuple(notes),
        warnings=doubts,
    )


def read_correlation(path: str | Path, options: Mapping[str, Any] | None = None) -> FluxCorrelation:
    """Read GPUMD's hac.out (https://gpumd.org): t, C of x in, x out, y in, y out, z, then κ(t) in the same order.

    In-plane and out-of-plane parts add up. Each run that GPUMD appended restarts at the first time.

    Parameters
    ----------
    path : str or Path
        Path of the file.
    options : mapping, optional
        Volume and temperature, from which κ is integrated again.

    Raises
    ------
    InputError
        The file is not a table of eleven columns, its runs have different times, or an option does not apply.
    """
    path, options = Path(path), options or {}
    refuse_others(path, options, {"volume", "temperature"})
    if _n_columns(path) != 11:
        raise InputError(f"{path} has {_n_columns(path)} columns, a hac.out of GPUMD has 11")
    # z has only one column, so it enters both sums with half its value.
    triples = (((1, 3, 5), (2, 4, 5)), ((6, 8, 10), (7, 9, 10)))
    grows = not ends_whole(path, 11)
    names = ("correlation", "conductivity")
    table = read_table(path, TableLayout("GPUMD hac.out", triples, names, clock=0, grows=grows, until_crash=None))
    table.samples[:, :, 2] *= 0.5
    times = np.asarray(table.clock)
    begins = np.flatnonzero(np.diff(times, prepend=np.inf) < 0)
    n = int(begins[1]) if len(begins) > 1 else len(times)
    left = len(times) % n
    if not np.array_equal(times, np.resize(times[:n], len(times))):
        raise InputError(f"{path} holds runs with different correlation times; separate them")
    samples = table.samples[: len(times) - left].reshape(-1, n, 2, 3)
    notes = (f"the last run of {path.name} is cut after {left} of {n} times and was left out",) if left else ()
    volume, temperature = options.get("volume"), options.get("temperature")
    if (volume is None) != (temperature is None):
        raise InputError(f"{path}: κ is integrated again with both volume= and temperature=, or taken from the file")
    return FluxCorrelation(
        times[:n],
        samples[:, :, 0] * STYLES["gpumd"].flux ** 2,
        samples[:, :, 1] if volume is None else None,
        np.ones(samples.shape[:2]),
        volume=volume,
        temperature=temperature,
        notes=notes,
        warnings=() if temperature is None else tuple(questions("metal", temperature, volume=volume)),
    )


def _quantities(path: Path, options: ReadOptions) -> tuple[list[str], float | None]:
    """Quantities in GPUMD's order, and the time between rows in ps where there is a run.in."""
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
            f"{path} does not name its columns, and there is no run.in beside it with a compute command; "
            "give quantities as in run.in, e.g. quantities=temperature,jp,jk"
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
