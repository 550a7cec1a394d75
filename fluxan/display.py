"""Display of objects in interactive sessions: a line of text, or an HTML table in notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Names shown of a list, and characters shown of an entry.
_MAX_NAMES, _MAX_CHARACTERS = 6, 100


class Displayed:
    """Mix-in that displays an object as the names and texts that its `_facts` returns."""

    __slots__ = ()

    def _facts(self) -> Mapping[str, str]:
        """Texts to display, by name; empty ones are left out."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """The facts in one line."""
        line = ", ".join(f"{name} {text}" for name, text in _shown(self))
        return f"<{type(self).__name__}: {line}>"

    def _repr_html_(self) -> str:
        """The facts as a table, for notebooks."""
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in _shown(self))
        return f"<table><caption>{escape(type(self).__name__)}</caption>{''.join(rows)}</table>"


def _shown(displayed: Displayed) -> list[tuple[str, str]]:
    # Texts from files and users may contain line breaks, and be long.
    lines = ((name, " ".join(text.split())) for name, text in displayed._facts().items())
    return [
        (name, text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…")
        for name, text in lines
        if text
    ]


def names(labels: Sequence[object]) -> str:
    """Names separated by commas; of more than six, the first six and the number of all."""
    first = ", ".join(map(str, labels[:_MAX_NAMES]))
    return first if len(labels) <= _MAX_NAMES else f"{first}, … ({len(labels)} in all)"


def composition(numbers: np.ndarray) -> dict[str, int]:
    """Number of atoms of each element by symbol; atomic number 0 is X."""
    from ase.data import chemical_symbols

    kinds, counts = np.unique(numbers, return_counts=True)
    return {chemical_symbols[z]: int(n) for z, n in zip(kinds, counts, strict=True)}


def formula(numbers: np.ndarray) -> str:
    """Chemical formula in order of atomic number, such as Ag32I32."""
    return "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in composition(numbers).items())


def cell_lengths(cell: np.ndarray | None, pbc: Sequence[bool]) -> str:
    """Lengths of the cell vectors, Å, and the directions that are not periodic."""
    if cell is None:
        return "none"
    lengths = " × ".join(f"{length:.4g}" for length in np.linalg.norm(cell, axis=1))
    return f"{lengths} Å{_open(pbc)}"


def cell_kind(cell: np.ndarray | None, pbc: Sequence[bool]) -> str:
    """Shape of a cell, and the directions that are not periodic."""
    if cell is None:
        return "none"
    lengths = np.linalg.norm(cell, axis=1)
    off_diagonal = np.abs(cell - np.diag(np.diag(cell))).max()
    shape = "orthogonal" if off_diagonal < 1e-9 * lengths.max() else "triclinic"
    return shape + _open(pbc)


def _open(pbc: Sequence[bool]) -> str:
    open_axes = "".join(axis for axis, periodic in zip("abc", pbc, strict=True) if not periodic)
    return f", open along {open_axes}" if open_axes else ""


def vector(values: np.ndarray, unit: str) -> str:
    """Three components and their unit."""
    return f"({', '.join(f'{value:.4g}' for value in values)}) {unit}"
