"""Which columns of a table are a flux: by name where the user says, by the customary names otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .record import ReadOptions
    from .table import Triple

_ENDINGS = (("[1]", "[2]", "[3]"), ("x", "y", "z"), ("_x", "_y", "_z"), ("1", "2", "3"), ("[0]", "[1]", "[2]"))
_FLUXLIKE = re.compile(r"flux|heat|current|(^|[cvf]_)[jq]", re.IGNORECASE)


def chosen_triples(path: Path, names: Sequence[str], options: ReadOptions) -> dict[str, Triple] | None:
    """Columns that the user named, by label; None if none were named.

    Raises
    ------
    InputError
        No such column.
    """
    if options.columns is None:
        return None
    indices = [_index(path, names, column) for column in options.columns]
    triples = [(indices[k], indices[k + 1], indices[k + 2]) for k in range(0, len(indices), 3)]
    labels = options.labels or (["total"] if len(triples) == 1 else [str(k) for k in range(len(triples))])
    return dict(zip(labels, triples, strict=True))


def vectors(names: Sequence[str]) -> dict[str, Triple]:
    """Every vector among the columns, by stem: ``Jx Jy Jz``, ``c_flux[1] c_flux[2] c_flux[3]``, ..."""
    place = {name: k for k, name in reversed(list(enumerate(names)))}
    lower = {name.lower(): k for name, k in place.items()}
    found: dict[str, Triple] = {}
    for name in names:
        for first, second, third in _ENDINGS:
            stem = name[: -len(first)]
            if not name.lower().endswith(first) or stem in found or not stem:
                continue
            triple = tuple(lower.get((stem + ending).lower(), -1) for ending in (first, second, third))
            if -1 not in triple:
                found[stem] = (triple[0], triple[1], triple[2])
    return found


def flux_vectors(names: Sequence[str]) -> dict[str, Triple]:
    """Vectors whose name is that of a flux."""
    return {stem: triple for stem, triple in vectors(names).items() if is_fluxlike(stem)}


def is_fluxlike(stem: str) -> bool:
    """Whether a name is customary for a flux."""
    return _FLUXLIKE.search(stem) is not None


def single(path: Path, names: Sequence[str], candidates: Mapping[str, Triple]) -> Triple:
    """The one candidate.

    Raises
    ------
    InputError
        There is none, or more than one.
    """
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    if candidates:
        raise InputError(
            f"{path} has several fluxes, {', '.join(candidates)}: "
            f"say which with columns, e.g. {','.join(names[k] for k in next(iter(candidates.values())))}"
        )
    raise InputError(
        f"{path} has no heat flux among its columns ({' '.join(names[:12])}{' ...' if len(names) > 12 else ''}); "
        "name its three columns with columns"
    )


def find(names: Sequence[str], *wanted: str) -> int | None:
    """Index of the first column with one of the names; None if there is none."""
    return next((list(names).index(name) for name in wanted if name in names), None)


def _index(path: Path, names: Sequence[str], column: str) -> int:
    if column in names:
        return list(names).index(column)
    if column.isdigit() and 1 <= int(column) <= len(names):
        return int(column) - 1
    raise InputError(f"{path} has no column {column!r}; it has {' '.join(names[:20])}")
