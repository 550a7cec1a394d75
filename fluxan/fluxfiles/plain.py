"""Plain tables: columns of numbers in a text file, with names in its first line or none, and NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import FileError, InputError, TrajectoryError

from .choice import chosen_triples, find, flux_vectors, is_mass_flux, mass_flux, single, vectors
from .table import Block, Layout, is_number, open_lines
from .units import unit_style

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .record import ReadOptions
    from .table import Triple


def text_layout(path: Path, options: ReadOptions) -> Layout:
    """Layout of a table in a text file.

    Raises
    ------
    InputError
        Which columns are the flux is not clear, or the units are not named.
    """
    names, first, delimiter = _header(path)
    return _layout(path, names, options, form="table", first=first, delimiter=delimiter)


def read_array(path: Path, options: ReadOptions) -> tuple[Layout, Block]:
    """Read a ``.npy`` file: (n, columns), (n, channels, 3), or records with named fields.

    Raises
    ------
    FileError
        Not a NumPy array, cut short, or one of Python objects, which are never unpickled.
    InputError
        Its shape is none of these, or the units are not named.
    TrajectoryError
        A number is not finite.
    """
    try:
        array = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"{path} is no NumPy array of numbers that can be read ({error})") from error
    values, names = _as_table(path, array)
    layout = _layout(path, names, options, form="array", n_channels=array.shape[1] if array.ndim == 3 else None)
    kept = np.asarray(values[:, layout.columns], dtype=np.float64)
    finite = np.isfinite(kept).all(axis=1)
    if finite.all():
        return layout, Block.of(kept, layout)
    first = int(np.argmin(finite))
    if not options.until_crash or not first:
        raise TrajectoryError(f"{path}: row {first} is not finite; until_crash=True takes what is before it")
    return layout, Block.of(kept[:first], layout, cut=True)


def _as_table(path: Path, array: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Two-dimensional view of an array, and names of its columns."""
    if array.dtype.names:
        names = list(array.dtype.names)
        return np.stack([np.asarray(array[name], dtype=np.float64) for name in names], axis=-1), names
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InputError(
            f"{path} holds an array {array.shape} of {array.dtype}; expected real numbers (n, columns) or "
            "(n, channels, 3), or records with named fields"
        )
    values = array.reshape(len(array), -1)
    return values, [str(k + 1) for k in range(values.shape[1])]


def _layout(
    path: Path,
    names: list[str],
    options: ReadOptions,
    *,
    form: str,
    first: int = 0,
    delimiter: bytes | None = None,
    n_channels: int | None = None,
) -> Layout:
    if options.units is None:
        raise InputError(f"{path} does not name its units; give units=, e.g. metal (eV Å/ps), real, lj, eV-A-fs")
    style = unit_style(options.units)
    triples = chosen_triples(path, names, options) or _guessed(path, names, options, n_channels)
    mass = mass_flux(path, names, options, triples)
    used = {column for triple in (*triples.values(), *mass.triples.values()) for column in triple}
    time, step = find(names, "time", "Time", "t"), find(names, "step", "Step", "timestep", "TimeStep")
    clock = None if options.dt is not None else time if time is not None else step
    others = {
        "temperature": find(names, "temperature", "temp", "Temp", "T"),
        "volume": find(names, "volume", "Volume", "vol", "V"),
    }
    factors = {"temperature": style.temperature, "volume": style.volume}
    return Layout(
        format=form,
        flux=tuple((triple,) for triple in triples.values()),
        labels=tuple(triples),
        flux_unit=style.flux,
        units="lj" if options.units == "lj" else "metal",
        density=bool(options.density),
        dt=options.dt,
        clock=clock,
        clock_unit=style.time if clock == time else options.timestep,
        velocity=tuple(mass.triples.values()),
        species=tuple(mass.triples),
        others={n: (c, factors[n]) for n, c in others.items() if c is not None and c not in used},
        until_crash=options.until_crash,
        notes=mass.notes,
        first=first,
        delimiter=delimiter,
    )


def _guessed(path: Path, names: list[str], options: ReadOptions, n_channels: int | None) -> dict[str, Triple]:
    """Tell the flux from other columns by name, or take all columns where they have no names."""
    if names != [str(k + 1) for k in range(len(names))]:
        rest = {stem: triple for stem, triple in vectors(names).items() if not is_mass_flux(stem)}
        return {"total": single(path, names, flux_vectors(names) or rest)}
    n_channels = n_channels or (1 if len(names) == 3 else len(options.labels or ()))
    if 3 * n_channels != len(names):
        raise InputError(
            f"{path} has {len(names)} columns without names; say which three are the flux, e.g. columns=2,3,4"
        )
    labels = options.labels or (["total"] if n_channels == 1 else [str(k) for k in range(n_channels)])
    if len(labels) != n_channels:
        raise InputError(f"{len(labels)} labels for {n_channels} channels of {path}")
    return {label: (3 * k, 3 * k + 1, 3 * k + 2) for k, label in enumerate(labels)}


def _header(path: Path) -> tuple[list[str], int, bytes | None]:
    """Names of columns, the first line of numbers, and what stands between columns."""
    names: Sequence[str] = ()
    with open_lines(path) as file:
        for number, line in enumerate(file):
            text = line.decode("utf-8", "replace").strip()
            mark = next((mark for mark in (",", ";") if mark in text), None)
            words = text.lstrip("#").replace(mark, " ").split() if mark else text.lstrip("#").split()
            if not words:
                continue
            if not text.startswith("#") and is_number(words[0]):
                if len(names) != len(words):
                    names = [str(k + 1) for k in range(len(words))]
                return list(names), number, mark.encode() if mark else None
            names = words
    raise InputError(f"{path} has no rows of numbers")
