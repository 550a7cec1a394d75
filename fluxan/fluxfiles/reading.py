"""`read_flux`: a heat flux from whatever file holds one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluxan.correlation.state import is_state_file
from fluxan.errors import FileError, InputError, TrajectoryError

from .gpumd import compute_layout
from .ipi import ipi_layout
from .lammps import average_layout, log_layout
from .plain import read_array, text_layout
from .record import FluxRecord, ReadOptions
from .table import open_lines, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray

    from .table import Block, Layout

_TEXT: dict[str, Callable[[Path, ReadOptions], Layout]] = {
    "lammps-log": log_layout,
    "lammps-ave": average_layout,
    "gpumd": compute_layout,
    "ipi": ipi_layout,
    "text": text_layout,
}
FORMATS = ("fluxan", *_TEXT, "npy")

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

    Raises
    ------
    FileError
        Missing, not readable, or of a kind that is not known.
    InputError
        What the columns, units or settings are cannot be told, or do not fit.
    TrajectoryError
        Broken rows, numbers that are not finite, gaps in time.
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
    if path.name == "hac.out" or is_state_file(path):
        raise FileError(f"{path} is a correlation function, not a flux; fluxan kappa {path} takes it")
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"CDF", b"\x89HDF")):
        return "fluxan"
    if b"\0" in head:
        raise FileError(f"{path} is a binary file of no kind that holds a flux")
    if head.startswith(b"LAMMPS (") or b"\nPer MPI rank memory" in head or head.lstrip().startswith(b"Step "):
        return "lammps-log"
    second = head.split(b"\n", 2)[1:2]
    if second and second[0].split()[:2] == [b"#", b"TimeStep"]:
        return "lammps-ave"
    if b"-->" in head.split(b"\n", 1)[0]:
        return "ipi"
    return "gpumd" if path.name == "compute.out" else "text"


def _words(words: Sequence[str] | str | None) -> Sequence[str] | None:
    return words.split(",") if isinstance(words, str) else words


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
    """Apply units; find the time step."""
    block, step = _equidistant(path, block)
    dt = layout.dt
    if dt is None and step is not None and layout.clock_unit is not None:
        dt = step * layout.clock_unit
    samples = block.samples * layout.flux_unit
    volumes = block.others.get("volume")
    volume = options.volume if options.volume is not None else None if volumes is None else _mean(volumes)
    if layout.density:
        if volume is None:
            raise InputError(f"{path} holds a flux per volume, and no volume; give volume")
        samples = samples * (volumes[:, None, None] if volumes is not None and options.volume is None else volume)
    temperatures = block.others.get("temperature")
    # A temperature that is given stands against the file's, sample by sample too.
    given = {"volume"} if options.temperature is None else {"volume", "temperature"}
    temperature = options.temperature or (None if temperatures is None else _mean(temperatures))
    return FluxRecord(
        samples=samples,
        dt=dt,
        labels=layout.labels,
        units=layout.units,
        volume=volume,
        temperature=temperature,
        format=layout.format,
        observables={name: values for name, values in block.others.items() if name not in given},
        notes=layout.notes,
    )


def _equidistant(path: Path, block: Block) -> tuple[Block, float | None]:
    """Rows at equal distances of their clock, and the distance.

    LAMMPS prints the first and the last step of a run whether or not they are due: these two may be left out.
    """
    clock = block.clock
    if clock is None or len(clock) < 3:
        return block, None if clock is None or len(clock) < 2 else float(clock[1] - clock[0])
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
    return block, step


def _mean(values: np.ndarray) -> float | None:
    """Mean where all values are there."""
    return float(values.mean()) if len(values) and np.isfinite(values).all() else None
