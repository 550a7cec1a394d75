"""Which columns of a table are a flux, and which a mass flux: as the user specifies, or by their customary names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fluxan.series.readers.read_options import ReadOptions
    from fluxan.series.readers.table import Triple

_ENDINGS = (("[1]", "[2]", "[3]"), ("_x", "_y", "_z"), ("x", "y", "z"), ("1", "2", "3"), ("[0]", "[1]", "[2]"),
            ("[x]", "[y]", "[z]"))  # fmt: skip
_FLUXLIKE = re.compile(r"flux|heat|current|(^|[cvf]_)[jq]", re.IGNORECASE)
#: Names of centre-of-mass velocities, momenta and mass fluxes; and those that may be velocities or momenta.
_MASS_FLUX = re.compile(r"vcm|mass_?fl|mflux|moment|(^|_)mom(_|\d|$)|(^|[cvf]_)jm(_|\d|$)", re.IGNORECASE)
_MAYBE_MASS_FLUX = re.compile(r"(^|[cvf]_)(p|v|vel\w*|com_?v\w*|v_?com)(_|\d|\[|$)", re.IGNORECASE)


@dataclass(frozen=True)
class MassFlux:
    """Mass fluxes, momenta or velocities of species among the columns, in any unit, with notes for the user.

    Attributes
    ----------
    triples : mapping
        The three columns of each, by name.
    notes : tuple of str
        Notes for the user.
    """

    triples: Mapping[str, Triple]
    notes: tuple[str, ...] = ()


def chosen_triples(path: Path, names: Sequence[str], options: ReadOptions) -> dict[str, Triple] | None:
    """Columns that the user named as the flux, by label; None if none were named.

    Raises
    ------
    InputError
        There is no such column, the columns are not three per channel, or they hold a mass flux.
    """
    if options.columns is None:
        return None
    indices = _indices(path, names, options.columns, "columns")
    triples = [(indices[k], indices[k + 1], indices[k + 2]) for k in range(0, len(indices), 3)]
    for triple in triples:
        stem = names[triple[0]]
        if _MASS_FLUX.search(stem):
            given = ",".join(names[k] for k in triple)
            raise InputError(
                f"{path}: {given} has the name of a momentum or mass flux, which is not part of an energy flux; "
                f"leave it out of columns= and give it as mass_flux={given}"
            )
    labels = options.labels or (["total"] if len(triples) == 1 else [str(k) for k in range(len(triples))])
    if len(labels) != len(triples):
        raise InputError(f"labels= has {len(labels)} names for {len(triples)} channels of three columns each")
    return dict(zip(labels, triples, strict=True))


def mass_flux(path: Path, names: Sequence[str], options: ReadOptions, used: Mapping[str, Triple]) -> MassFlux:
    """Mass fluxes: those that the user named, or else those whose names are customary for one.

    Raises
    ------
    InputError
        There is no such column, or the columns are not three per species.
    """
    if options.mass_flux is not None:
        if list(options.mass_flux) == ["none"]:
            return MassFlux({})
        indices = _indices(path, names, options.mass_flux, "mass_flux")
        triples = [(indices[k], indices[k + 1], indices[k + 2]) for k in range(0, len(indices), 3)]
        shared = {column for triple in used.values() for column in triple} & set(indices)
        if shared:
            raise InputError(f"{path}: {names[min(shared)]} is the heat flux; mass_flux= must name other columns")
        return MassFlux({names[triple[0]]: triple for triple in triples})
    taken = {column for triple in used.values() for column in triple}
    free = {stem: triple for stem, triple in vectors(names).items() if not taken & set(triple)}
    found = {stem: triple for stem, triple in free.items() if _MASS_FLUX.search(stem)}
    if found:
        listed = ", ".join(found)
        return MassFlux(
            found, (f"{listed} of {path.name} was taken for the species' mass flux (mass_flux=none leaves it out)",)
        )
    maybe = [stem for stem in free if _MAYBE_MASS_FLUX.search(stem) and not is_fluxlike(stem)]
    if maybe:
        three = ",".join(names[k] for k in free[maybe[0]])
        note = (
            f"{path.name} has the columns {three} too, which were not used: if they are a species' velocity or "
            f"momentum and species diffuse, give mass_flux={three}"
        )
        return MassFlux({}, (note,))
    return MassFlux({})


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
            if -1 not in triple and triple not in found.values():
                found[stem] = (triple[0], triple[1], triple[2])
    return found


def flux_vectors(names: Sequence[str]) -> dict[str, Triple]:
    """Vectors whose name is that of an energy flux."""
    return {stem: triple for stem, triple in vectors(names).items() if is_fluxlike(stem)}


def is_fluxlike(stem: str) -> bool:
    """Whether a name is customary for a flux of energy."""
    return _FLUXLIKE.search(stem) is not None and not is_mass_flux(stem)


def is_mass_flux(stem: str) -> bool:
    """Whether a name is customary for a mass flux."""
    return _MASS_FLUX.search(stem) is not None


def may_be_flux(stem: str) -> bool:
    """Whether a name may be that of an energy flux, that is, not customary for a mass flux, momentum or velocity."""
    return is_fluxlike(stem) or not (is_mass_flux(stem) or _MAYBE_MASS_FLUX.search(stem))


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
            f"say which, e.g. columns={','.join(names[k] for k in next(iter(candidates.values())))}"
        )
    raise InputError(
        f"{path} has no heat flux among its columns ({' '.join(names[:12])}{' ...' if len(names) > 12 else ''}); "
        "name its three columns: columns="
    )


def find(names: Sequence[str], *wanted: str) -> int | None:
    """Index of the first column with one of the names; None if there is none."""
    return next((list(names).index(name) for name in wanted if name in names), None)


def _indices(path: Path, names: Sequence[str], columns: Sequence[str], option: str) -> list[int]:
    """Columns by name, by number from 1, or three at once by the stem of a vector, with ``[*]`` or without."""
    found: list[int] = []
    known = vectors(names)
    for column in columns:
        stem = column.removesuffix("[*]")
        if column in names:
            found.append(list(names).index(column))
        elif column.isdigit() and 1 <= int(column) <= len(names):
            found.append(int(column) - 1)
        elif stem in known:
            found += known[stem]
        else:
            raise InputError(f"{path} has no column {column!r}; it has {' '.join(list(dict.fromkeys(names))[:20])}")
    if len(found) % 3:
        each = "channel" if option == "columns" else "species"
        raise InputError(
            f"{option}= names {len(found)} columns, expected three per {each}: x, y, z of the first, then of the "
            "second, ..."
        )
    return found
