"""`read_flux`: a heat flux from whatever file holds one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluxan.correlation.state import is_state_file
from fluxan.errors import FileError, InputError, TrajectoryError

from .correlation import correlation_format
from .gpumd import compute_layout
from .ipi import ipi_layout
from .lammps import average_layout, log_layout
from .plain import read_array, text_layout
from .record import FluxRecord, ReadOptions
from .soundness import BLOWN_UP, blow_up, questions
from .table import Block, open_lines, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray

    from .table import Layout

_TEXT: dict[str, Callable[[Path, ReadOptions], Layout]] = {
    "lammps-log": log_layout,
    "lammps-ave": average_layout,
    "gpumd": compute_layout,
    "ipi": ipi_layout,
    "text": text_layout,
}
FORMATS = ("fluxan", *_TEXT, "npy")

#: What begins lines of LAMMPS' logs, also behind what a batch system wrote, and of their tables cut out.
_LOG = re.compile(
    rb"^(LAMMPS \(|Per MPI rank memory|Memory usage per processor|\s*Step\s|keywords: \[|-{12} Step )", re.MULTILINE
)

#: Share by which times between rows may differ from each other, and from what steps say.
_UNEVEN = 1e-3

#: Momenta and velocities, in a file's own unit, that are zero.
_ROUND_OFF = 1e-12

#: Bytes at the beginning of a file by which it is told apart.
_HEAD = 1 << 14


def read_flux(
    path: str | Path,
    *,
    form: str | None = None,
    columns: Sequence[str] | str | None = None,
    labels: Sequence[str] | str | None = None,
    units: str | None = None,
    dt: float | None = None,
    timestep: float | None = None,
    volume: float | None = None,
    temperature: float | None = None,
    density: bool | None = None,
    run: int | None = None,
    quantities: Sequence[str] | str | None = None,
    mass_flux: Sequence[str] | str | None = None,
    per_atom: bool | None = None,
    until_crash: bool = False,
) -> FluxRecord:
    """Read a heat flux.

    LAMMPS logs and files of fix ave/time, GPUMD's compute.out (with its run.in beside it), i-PI's properties, tables
    in text files, ``.npy`` arrays, and fluxan's own files, told apart by content; plain, .gz or .zst.

    Parameters
    ----------
    path : file
    form : one of fluxan, lammps-log, lammps-ave, gpumd, ipi, text, npy, where the content does not tell
    columns : names (or numbers from 1) of columns, three per channel, where their names do not tell
    labels : names of the channels
    units : metal, real, lj, si, atomic, gpumd or eV-A-fs, where the file does not tell; see `fluxan.fluxfiles.units`
    dt : ps (lj: τ) between samples; overrides the file
    timestep : ps (lj: τ) per MD step, where the file counts steps
    volume, temperature : Å³ and K (lj: reduced), override the file
    density : whether the columns are a flux per volume; LAMMPS logs tell where they define the variables
    run : which run of a LAMMPS log, counted from 0 or, negative, from the end; by default the last one with a flux
    quantities : of GPUMD's compute.out, as in its run.in
    mass_flux : names (or numbers) of the columns of a species' mass flux, momentum or centre-of-mass velocity, three
        per species, or stems: "c_vcm[1][*]"; "none" takes none. By default those with the name of one
    per_atom : whether a LAMMPS log divides the flux by the number of atoms (thermo_modify norm), where it does not tell
    until_crash : take the samples before a run blew up; without it such a run is refused

    Raises
    ------
    FileError
        Missing, not readable, or of a kind that is not known.
    InputError
        What the columns, units or settings are cannot be told, or do not fit.
    TrajectoryError
        Broken rows, numbers that are not finite, gaps in time, a run that blew up.
    """
    path = Path(path)
    options = ReadOptions(
        columns=_words(columns),
        labels=_words(labels),
        units=units,
        dt=dt,
        timestep=timestep,
        volume=volume,
        temperature=temperature,
        density=density,
        run=run,
        quantities=_words(quantities),
        mass_flux=_words(mass_flux),
        per_atom=per_atom,
        until_crash=until_crash,
    )
    form = form or detect(path)
    if form == "fluxan":
        return _own(path, options)
    if form == "npy":
        return _series(path, *read_array(path, options), options)
    if form not in _TEXT:
        raise InputError(f"format is {form!r}, expected one of {', '.join(FORMATS)}")
    layout = _TEXT[form](path, options)
    return _series(path, layout, read_table(path, layout), options)


def detect(path: Path) -> str:
    """Kind of a flux file, by content.

    Raises
    ------
    FileError
        Missing, empty, a correlation function, or of no known kind.
    """
    if not path.is_file():
        raise FileError(f"{path}: no such file")
    with open_lines(path) as file:
        head = file.read(_HEAD)
    if not head:
        raise FileError(f"{path} is empty")
    if path.name == "hac.out" or correlation_format(path) or is_state_file(path):
        raise FileError(f"{path} is a correlation function, not a flux; fluxan kappa {path} takes it")
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"CDF", b"\x89HDF")):
        return "fluxan"
    if b"\0" in head:
        raise FileError(f"{path} is a binary file of no kind that holds a flux")
    if _LOG.search(head):
        return "lammps-log"
    second = head.split(b"\n", 2)[1:2]
    if second and second[0].split()[:2] == [b"#", b"TimeStep"]:
        return "lammps-ave"
    if b"-->" in head.split(b"\n", 1)[0]:
        return "ipi"
    return "gpumd" if path.name == "compute.out" else "text"


def _words(words: Sequence[str] | str | None) -> Sequence[str] | None:
    return None if words is None else [word for part in _listed(words) for word in part.split(",") if word]


def _listed(words: Sequence[str] | str) -> Sequence[str]:
    return [words] if isinstance(words, str) else words


def record_of(dataset: xarray.Dataset, options: ReadOptions | None = None) -> FluxRecord:
    """Flux by carrier of a Dataset of `fluxan.decompose`.

    Raises
    ------
    InputError
        Samples that are not finite, times that are not equidistant, or no time step.
    """
    from fluxan.correlation.samples import flux_samples

    options = options or ReadOptions()
    samples = flux_samples(dataset, dt=options.dt, by="carrier")
    series = {name: dataset[name].values for name in ("temperature", "potential_energy", "volume")}
    return FluxRecord(
        samples=samples.values,
        dt=samples.time_step,
        labels=samples.labels,
        volume=options.volume or _mean(series["volume"]),
        temperature=options.temperature or _mean(series["temperature"]),
        format="fluxan flux",
        observables={"temperature": series["temperature"], "energy": series["potential_energy"]},
    )


def _own(path: Path, options: ReadOptions) -> FluxRecord:
    from fluxan.dataset import open_flux

    with open_flux(path) as dataset:
        return record_of(dataset, options)


def _series(path: Path, layout: Layout, block: Block, options: ReadOptions) -> FluxRecord:
    """Apply units; find the time step; refuse what blew up."""
    block, step, notes = equidistant(path, block)
    block, warnings = _sound(path, layout, block, options)
    dt, doubts = _time_step(layout, block, step)
    volumes = block.others.get("volume")
    volume = options.volume if options.volume is not None else None if volumes is None else _mean(volumes)
    samples = block.samples * layout.flux_unit
    if layout.density:
        if volume is None:
            raise InputError(f"{path} holds a flux per volume, and no volume; give volume=")
        samples = samples * (volumes[:, None, None] if volumes is not None and options.volume is None else volume)
    velocity, notes = _mass_flux(block, layout, notes)
    temperatures = block.others.get("temperature")
    told = None if temperatures is None else _mean(temperatures)
    # A temperature that is given stands against the file's, sample by sample too.
    given = {"volume", "time"} if options.temperature is None else {"volume", "time", "temperature"}
    temperature = options.temperature or told
    return FluxRecord(
        samples=samples,
        dt=dt,
        labels=layout.labels,
        units=layout.units,
        volume=volume,
        temperature=temperature,
        format=layout.format,
        observables={name: values for name, values in block.others.items() if name not in given},
        velocity=velocity,
        species=layout.species if velocity is not None else (),
        notes=tuple(notes),
        warnings=(*layout.warnings, *warnings, *doubts, *questions(layout.units, temperature, told)),
    )


def _mass_flux(block: Block, layout: Layout, notes: list[str]) -> tuple[np.ndarray | None, list[str]]:
    """The species' mass fluxes, if they are any, and all notes."""
    if not layout.velocity:
        return None, [*layout.notes, *notes]
    if np.abs(block.velocity).max() > _ROUND_OFF:
        return block.velocity, [*layout.notes, *notes]
    told = f"{', '.join(layout.species)} is zero up to round-off, as a total momentum is: it is no species' mass flux"
    return None, [told, *notes]


def _sound(path: Path, layout: Layout, block: Block, options: ReadOptions) -> tuple[Block, list[str]]:
    """Rows before a blow-up where that was asked for, and how the run ended; else a blow-up is an error."""
    ended = [layout.ended] if layout.ended else []
    n = len(block.samples)
    if block.cut:
        ended.append(
            f"the run blew up: what is behind sample {n}, the last before one that is not finite, was left out"
        )
    found = blow_up(block.samples, block.others)
    if found is None:
        return block, ended
    first, times, what = found
    if options.until_crash and first:
        return block.rows(slice(0, first)), [
            *ended,
            f"the run blew up: the first {first} of its {n} samples were taken",
        ]
    told = f"; {layout.ended}" if layout.ended else ""
    raise TrajectoryError(
        f"{path}: {what} gets {times:.2g} times as large as its median from sample {first} (of {n}) on, more than "
        f"{BLOWN_UP:.0f} times is a run that blew up{told}; until_crash=True takes the samples before it"
    )


def _time_step(layout: Layout, block: Block, step: float | None) -> tuple[float | None, list[str]]:
    """Time between rows, ps, and a warning where steps and times of the file contradict each other."""
    counted = None if step is None or layout.clock_unit is None else step * layout.clock_unit
    times = block.others.get("time")
    if layout.dt is not None or times is None or len(times) < 2:
        return layout.dt if layout.dt is not None else counted, []
    measured = float(times[-1] - times[0]) / (len(times) - 1)
    if measured <= 0:
        return counted, []
    if np.abs(np.diff(times) - measured).max() > _UNEVEN * measured + 4e-6 * np.abs(times).max():
        return measured, [f"the time between rows is not the same everywhere: its mean, {measured:.4g}, was taken"]
    if counted is None or abs(counted / measured - 1) > _UNEVEN:
        doubt = f"the file's times are {measured:.4g} apart, its steps {counted:.4g}: the times were taken"
        return measured, [doubt] if counted is not None else []
    return counted, []


def equidistant(path: Path, block: Block) -> tuple[Block, float | None, list[str]]:
    """Rows at equal distances of their clock, the distance, and what was left out.

    LAMMPS prints the first and the last step of a run whether or not they are due: these two may be left out. Where the
    clock goes back, a later run has begun (a restart that repeats steps, or a run of its own): its rows count.
    """
    clock = block.clock
    if clock is not None and len(clock) > 1 and (clock == clock[0]).all():
        return block, None, [f"{path.name}: its times are all {clock[0]:.12g}, which is no time"]
    if clock is None or len(clock) < 3:
        return block, None if clock is None or len(clock) < 2 else float(clock[1] - clock[0]), []
    block, notes = _latest(path, block, clock)
    clock = np.asarray(block.clock)
    if len(clock) < 3:
        return block, float(clock[-1] - clock[0]) if len(clock) == 2 else None, notes
    step = float(np.median(np.diff(clock)))
    begin = 1 if 0 < clock[1] - clock[0] < 0.999 * step else 0
    end = len(clock) - (1 if 0 < clock[-1] - clock[-2] < 0.999 * step else 0)
    block = block.rows(slice(begin, end))
    steps = np.diff(clock[begin:end])
    # Times are printed with as few as six digits.
    wrong = np.abs(steps - step) > 1e-3 * abs(step) + 2e-6 * np.abs(clock).max() * (step % 1 != 0)
    if step <= 0 or wrong.any():
        at = int(np.argmax(wrong)) if wrong.any() else 0
        before, after = clock[begin + at], clock[begin + at + 1]
        raise TrajectoryError(
            f"{path}: rows are not at equal times: {after:.12g} follows {before:.12g}, {step:.12g} apart elsewhere; "
            "use a part without gaps, and one run at a time"
        )
    return block, step, notes


def _latest(path: Path, block: Block, clock: np.ndarray) -> tuple[Block, list[str]]:
    """Rows that no later row precedes in time, where a clock goes back; one that never advances is none."""
    steps = np.diff(clock)
    # A clock printed with too few digits repeats itself all along: that is no restart.
    if not (steps < 0).any() and not 0 < (steps == 0).sum() <= max(1, len(clock) // 20):
        return block, []
    ahead = np.minimum.accumulate(clock[::-1])[::-1]
    kept = np.append(clock[:-1] < ahead[1:], True)
    begins = int(np.flatnonzero(np.diff(clock) <= 0)[-1]) + 1
    notes = [
        f"{path.name}: a later run begins again at {clock[begins]:.12g}; {(~kept).sum()} rows before were left out"
    ]
    return block.rows(np.flatnonzero(kept)), notes


def _mean(values: np.ndarray) -> float | None:
    """Mean where all values are there."""
    return float(values.mean()) if len(values) and np.isfinite(values).all() else None
