"""`read_flux`: reads a heat flux from a file of any supported format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fluxan.correlation.state_file import is_state_file
from fluxan.errors import FileError, InputError, TrajectoryError
from fluxan.series.conversion import carriers_of_dataset
from fluxan.series.flux_dataset import open_flux
from fluxan.series.heat_flux_series import HeatFluxSeries
from fluxan.series.readers.flux_correlation import CORRELATIONS, correlation_format
from fluxan.series.readers.gpumd import compute_layout
from fluxan.series.readers.ipi import ipi_layout
from fluxan.series.readers.lammps_output import average_layout, log_layout
from fluxan.series.readers.plain import read_array, text_layout
from fluxan.series.readers.read_options import FluxFileOptions, ReadOptions
from fluxan.series.readers.row_times import equidistant, time_step
from fluxan.series.readers.soundness import BLOWN_UP, another_volume, blow_up, outliers, questions
from fluxan.series.readers.table import TableBlock, open_lines, read_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from fluxan.series.readers.table import TableLayout

_TEXT: dict[str, Callable[[Path, ReadOptions], TableLayout]] = {
    "lammps-log": log_layout,
    "lammps-ave": average_layout,
    "gpumd": compute_layout,
    "ipi": ipi_layout,
    "text": text_layout,
}
FORMATS = ("fluxan", *_TEXT, "npy")

#: Options that apply to one kind of file only.
_SPECIAL = {"quantities": "gpumd", "run": "lammps-log", "per_atom": "lammps-log"}

#: Beginnings of lines of LAMMPS logs, also where a batch system wrote lines before, and of tables cut out of logs.
_LOG = re.compile(
    rb"^(LAMMPS \(|Per MPI rank memory|Memory usage per processor|\s*Step\s|keywords: \[|-{12,} Step )", re.MULTILINE
)

#: Momenta and velocities, in the file's own unit, at or below which they count as zero.
_ROUND_OFF = 1e-12

#: Bytes at the beginning of a file that identify its format.
_HEAD = 1 << 14


def read_flux(path: str | Path, *, form: str | None = None, **options: Unpack[FluxFileOptions]) -> HeatFluxSeries:
    """Read a heat flux.

    LAMMPS logs and files of fix ave/time, GPUMD's compute.out (with its run.in beside it), i-PI's properties, tables
    in text files, ``.npy`` arrays, and fluxan's own files; the content identifies the format; plain, .gz or .zst.

    Parameters
    ----------
    path : str or Path
        Path of the file.
    form : str, optional
        One of fluxan, lammps-log, lammps-ave, gpumd, ipi, text, npy, where the content does not identify it.
    columns : str or sequence of str, optional
        Names (or numbers from 1) of the flux's columns, three per channel, where their names do not identify them.
    labels : str or sequence of str, optional
        Names of the channels.
    units : str, optional
        metal, real, lj, si, atomic, gpumd or eV-A-fs, where the file does not record them; see
        `fluxan.series.readers.unit_styles`.
    dt : float, optional
        Time between samples, ps (lj: τ); overrides the file.
    timestep : float, optional
        Time per MD step, ps (lj: τ), where the file counts steps.
    volume, temperature : float, optional
        Å³ and K (lj: reduced); override the file.
    density : bool, optional
        Whether the columns are a flux per volume; LAMMPS logs show it where they define the variables.
    run : int, optional
        Run of a LAMMPS log, counted from 0 or, if negative, from the end; by default the last one with a flux.
    quantities : str or sequence of str, optional
        Quantities of GPUMD's compute.out, as in its run.in.
    mass_flux : str or sequence of str, optional
        Names (or numbers) of the columns of a species' mass flux, momentum or centre-of-mass velocity, three per
        species, or stems such as "c_vcm[1][*]"; "none" takes none. By default those with a customary name.
    per_atom : bool, optional
        Whether a LAMMPS log divides the flux by the number of atoms (thermo_modify norm), where it does not record it.
    until_crash : bool
        Take the samples before a run blew up; otherwise such a run is refused.

    Raises
    ------
    FileError
        Missing, not readable, or of a kind that is not known.
    InputError
        Columns, units or settings are unknown or contradict the file.
    TrajectoryError
        Broken rows, numbers that are not finite, gaps in time, a run that blew up.
    """
    path = Path(path)
    given = ReadOptions.of(options)
    form = form or detect(path)
    if form == "fluxan":
        return _own(path, given)
    if form == "npy":
        return _series(path, *read_array(path, given), given)
    if form not in _TEXT:
        raise InputError(f"form is {form!r}, expected one of {', '.join((*FORMATS, *CORRELATIONS))}")
    _require_use(path, form, given)
    layout = _TEXT[form](path, given)
    return _series(path, layout, read_table(path, layout), given)


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
    if correlation_format(path) or is_state_file(path):
        raise FileError(f"{path} is a correlation function, not a flux; fluxan kappa {path} takes it")
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith((b"CDF", b"\x89HDF")):
        return "fluxan"
    _refuse_binary(path, head)
    second = head.split(b"\n", 2)[1:2]
    if second and second[0].split()[:2] == [b"#", b"TimeStep"]:
        return "lammps-ave"
    if _LOG.search(head):
        return "lammps-log"
    if b"-->" in head.split(b"\n", 1)[0]:
        return "ipi"
    ours = path.name == "compute.out" or (path.match("compute*.out") and (path.parent / "run.in").is_file())
    return "gpumd" if ours else "text"


def _refuse_binary(path: Path, head: bytes) -> None:
    """Refuse a binary file that holds no flux, naming its kind where it is known."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FileError(f"{path} is text in UTF-16, as Windows' shell redirects it; save it in UTF-8")
    if head.startswith(b"PK\x03\x04") and path.suffix == ".npz":
        raise FileError(f"{path} is an archive of arrays; save the flux as one array with numpy.save")
    if b"\0" in head:
        raise FileError(f"{path} is a binary file of unknown format")


def _require_use(path: Path, form: str, options: ReadOptions) -> None:
    """Refuse options that do not apply to a kind of file."""
    for name, forms in _SPECIAL.items():
        value = getattr(options, name)
        if value is not None and form != forms:
            shown = value if isinstance(value, (bool, int)) else ",".join(value)
            raise InputError(f"{path} is read as {form}: {name}={shown} does not apply to it")


def _own(path: Path, options: ReadOptions) -> HeatFluxSeries:
    """Flux by carrier of a flux file of fluxan."""
    with open_flux(path) as dataset:
        return carriers_of_dataset(dataset, dt=options.dt, volume=options.volume, temperature=options.temperature)


def _series(path: Path, layout: TableLayout, block: TableBlock, options: ReadOptions) -> HeatFluxSeries:
    """Apply units, find the time step, and refuse a run that blew up."""
    block, incomplete = block.with_whole_columns()
    expected = None if options.dt is None or not layout.clock_unit else options.dt / layout.clock_unit
    block, step, notes = equidistant(path, block, expected)
    block, warnings = _sound(path, layout, block, options)
    dt, doubts = time_step(layout, block, step, options)
    volumes = block.others.get("volume")
    measured = None if volumes is None else float(volumes.mean())
    volume = options.volume if options.volume is not None else measured
    samples = block.samples * layout.flux_unit
    if layout.density:
        if volume is None:
            raise InputError(f"{path} holds a flux per volume, and no volume; give volume=")
        samples = samples * (volumes[:, None, None] if volumes is not None and options.volume is None else volume)
    velocity, notes = _mass_flux(block, layout, notes)
    temperatures = block.others.get("temperature")
    recorded = None if temperatures is None else float(temperatures.mean())
    # A given temperature replaces that of the file, also sample by sample.
    given = {"volume", "time"} if options.temperature is None else {"volume", "time", "temperature"}
    temperature = options.temperature or recorded
    for name, value in (("temperature", temperature), ("volume", volume)):
        if value is not None and not value > 0:
            raise InputError(f"{path}: its {name} is {value:.6g} on average, which is not positive; give {name}=")
    return HeatFluxSeries.of_samples(
        samples,
        np.nan if dt is None else dt,
        _labels(layout, options),
        velocity=velocity,
        species=layout.species if velocity is not None else (),
        units=layout.units,
        volume=None if volume is None else np.array([volume]),
        given_temperature=options.temperature,
        source=layout.format,
        observables={name: values for name, values in block.others.items() if name not in given},
        notes=(*notes, *another_volume(options.volume, measured)),
        warnings=(
            *layout.warnings,
            *(f"{name} is not finite in {rows} rows: it was left out" for name, rows in incomplete.items()),
            *warnings,
            *outliers(block.samples),
            *doubts,
            *questions(layout.units, temperature, recorded, volume),
        ),
    )


def _labels(layout: TableLayout, options: ReadOptions) -> tuple[str, ...]:
    """Names of the channels; those that the user gives must be as many."""
    given = options.labels
    if given is not None and len(given) != len(layout.labels):
        raise InputError(f"labels={','.join(given)} names {len(given)} channels of {len(layout.labels)}")
    return layout.labels if given is None else tuple(given)


def _mass_flux(block: TableBlock, layout: TableLayout, notes: list[str]) -> tuple[np.ndarray | None, list[str]]:
    """The species' mass fluxes, unless they are round-off, and all notes."""
    if not layout.velocity:
        return None, [*layout.notes, *notes]
    if np.abs(block.velocity).max() > _ROUND_OFF:
        return block.velocity, [*layout.notes, *notes]
    note = f"{', '.join(layout.species)} is zero up to round-off, as a total momentum is: it is no species' mass flux"
    return None, [note, *notes]


def _sound(path: Path, layout: TableLayout, block: TableBlock, options: ReadOptions) -> tuple[TableBlock, list[str]]:
    """Rows before a blow-up where `until_crash` is set, and how the run ended; otherwise a blow-up is an error."""
    ended = [layout.ended] if layout.ended else []
    n = len(block.samples)
    if block.cut:
        ended.append(
            f"the run blew up: samples after sample {n}, the last before one that is not finite, were left out"
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
    ended_so = f"; {layout.ended}" if layout.ended else ""
    raise TrajectoryError(
        f"{path}: {what} gets {times:.2g} times as large as its median from sample {first} (of {n}) on, more than "
        f"{BLOWN_UP:.0f} times is a run that blew up{ended_so}; until_crash=True takes the samples before it"
    )
