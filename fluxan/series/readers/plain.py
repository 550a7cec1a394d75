"""Plain tables: columns of numbers in a text file, with names in its first line or none, and NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import FileError, InputError, TrajectoryError
from fluxan.series.readers.choice import chosen_triples, find, flux_vectors, mass_flux, may_be_flux, single, vectors
from fluxan.series.readers.column_names import TableHeader, numbered, read_header
from fluxan.series.readers.table import TableBlock, TableLayout
from fluxan.series.readers.unit_styles import unit_style
from fluxan.trajectory.text import is_compressed

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.series.readers.read_options import ReadOptions
    from fluxan.series.readers.table import Triple
    from fluxan.series.readers.unit_styles import UnitStyle

#: Number of columns beyond which a table is more likely to be transposed.
_MANY = 300


def text_layout(path: Path, options: ReadOptions) -> TableLayout:
    """Layout of a table in a text file.

    Raises
    ------
    InputError
        Which columns are the flux is not clear, or the units are not named.
    """
    return _layout(path, read_header(path), options, form="table")


def read_array(path: Path, options: ReadOptions) -> tuple[TableLayout, TableBlock]:
    """Read a ``.npy`` file: (n, columns), (n, channels, 3), or records with named fields.

    Raises
    ------
    FileError
        Not a NumPy array, truncated, or an array of Python objects, which are never unpickled.
    InputError
        Its shape is none of these, or the units are not named.
    TrajectoryError
        A number is not finite.
    """
    with path.open("rb") as file:
        if is_compressed(file.read(4)):
            raise FileError(f"{path} is a compressed array, which cannot be read in parts; decompress it")
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"{path} is no NumPy array of numbers that can be read: cut, or of Python objects") from error
    values, names = _as_table(path, array)
    n_channels = array.shape[1] if array.ndim == 3 else None
    layout = _layout(path, TableHeader(names, {}, 0, None), options, form="array", n_channels=n_channels)
    kept = np.asarray(values[:, layout.columns], dtype=np.float64)
    finite = (np.isfinite(kept) | ~np.isin(layout.columns, list(layout.needed))).all(axis=1)
    if finite.all():
        return layout, TableBlock.of(kept, layout)
    first = int(np.argmin(finite))
    if not options.until_crash or not first:
        raise TrajectoryError(f"{path}: row {first} is not finite; until_crash=True takes what is before it")
    return layout, TableBlock.of(kept[:first], layout, cut=True)


def _as_table(path: Path, array: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Two-dimensional view of an array, and names of its columns."""
    if array.dtype.names:
        names = list(array.dtype.names)
        return np.stack([np.asarray(array[name], dtype=np.float64) for name in names], axis=-1), names
    if (array.ndim in (2, 3) and array.shape[-1] > 3 * len(array)) or (array.ndim == 3 and array.shape[1] > len(array)):
        raise InputError(
            f"{path} holds an array {array.shape}, with more columns than samples; expected (n, columns) or (n, "
            "channels, 3), time first: is it transposed?"
        )
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(
            f"{path} holds an array {array.shape} of {array.dtype}; expected real numbers (n, columns) or "
            "(n, channels, 3), or records with named fields"
        )
    values = array.reshape(len(array), -1)
    return values, numbered(values.shape[1])


def _layout(
    path: Path, header: TableHeader, options: ReadOptions, *, form: str, n_channels: int | None = None
) -> TableLayout:
    names = header.names
    if options.units is None:
        raise InputError(f"{path} does not name its units; give units=, e.g. metal (eV Å/ps), real, lj, eV-A-fs")
    style = unit_style(options.units)
    triples = chosen_triples(path, names, options) or _guessed(path, header, options, n_channels)
    mass = mass_flux(path, names, options, triples)
    taken = ",".join(names[column] for column in next(iter(triples.values())))
    unnamed = header.named and options.columns is None and not flux_vectors(names)
    guess = (f"no column of {path.name} has the name of a heat flux: {taken} were taken for it",) if unnamed else ()
    used = {column for triple in (*triples.values(), *mass.triples.values()) for column in triple}
    clock, clock_unit = _clock(path, header, options, style)
    columns = {
        "temperature": find(names, "temperature", "Temperature", "temp", "Temp", "T"),
        "volume": find(names, "volume", "Volume", "vol", "Vol", "V"),
    }
    usual = {"temperature": style.temperature, "volume": style.volume}
    others = {n: (c, header.factor(n, c, usual[n])) for n, c in columns.items() if c is not None and c not in used}
    unknown = [n for n, (_, factor) in others.items() if factor is None and getattr(options, n) is None]
    return TableLayout(
        format=form,
        flux=tuple((triple,) for triple in triples.values()),
        labels=tuple(triples),
        flux_unit=style.flux,
        units="lj" if options.units == "lj" else "metal",
        density=bool(options.density),
        dt=options.dt,
        clock=clock,
        clock_unit=clock_unit,
        velocity=tuple(mass.triples.values()),
        species=tuple(mass.triples),
        others={n: (c, factor) for n, (c, factor) in others.items() if factor is not None},
        until_crash=options.until_crash,
        notes=mass.notes,
        warnings=(*guess, *(f"the unit of {n} in {path.name} is not known: give {n}=" for n in unknown)),
        first=header.first,
        delimiter=header.delimiter,
    )


def _clock(path: Path, header: TableHeader, options: ReadOptions, style: UnitStyle) -> tuple[int | None, float | None]:
    """Column of the time or else of the step, and ps per unit of it."""
    time = find(header.names, "time", "Time", "t")
    if time is None:
        return find(header.names, "step", "Step", "timestep", "TimeStep"), options.timestep
    unit = header.factor("time", time, style.time)
    if unit is None and options.dt is None:
        raise InputError(f"{path}: the unit {header.units[header.names[time]]!r} of its times is not known; give dt=")
    return time, unit


def _guessed(path: Path, header: TableHeader, options: ReadOptions, n_channels: int | None) -> dict[str, Triple]:
    """Choose the flux among the columns by name, or take all columns where they have no names."""
    names = header.names
    if header.named:
        rest = {stem: triple for stem, triple in vectors(names).items() if may_be_flux(stem)}
        return {"total": single(path, names, flux_vectors(names) or rest)}
    n_channels = n_channels or (1 if len(names) == 3 else len(options.labels or ()))
    if 3 * n_channels != len(names):
        raise InputError(
            f"{path} has {len(names)} columns without names; "
            + ("is it transposed?" if len(names) > _MANY else "say which three are the flux, e.g. columns=2,3,4")
        )
    labels = options.labels or (["total"] if n_channels == 1 else [str(k) for k in range(n_channels)])
    if len(labels) != n_channels:
        raise InputError(f"{len(labels)} labels for {n_channels} channels of {path}")
    return {label: (3 * k, 3 * k + 1, 3 * k + 2) for k, label in enumerate(labels)}
