"""Sections of TOML files of settings: records, tables, files and words, each refused in one line that names its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fluxan.errors import InputError
from fluxan.potentials.parameters import check_keys

if TYPE_CHECKING:
    from pathlib import Path


def read_record(kind: Any, table: object, where: str) -> Any:
    """Record of a section, whose keys are its fields."""
    values = read_table(table, where)
    check_keys(values, [f.name for f in fields(kind)], f"{where}.")
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"[{where}]: {error}") from None


def read_table(value: object, where: str) -> Mapping[str, Any]:
    """A table, such as a section."""
    if not isinstance(value, Mapping):
        raise InputError(f"{where} is {value!r}; expected a table")
    return value


def read_paths(value: object, folder: Path, where: str) -> tuple[Path, ...]:
    """Files of a name or pattern, or of a list of them."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{where} is {value!r}; expected the names of files")
    found: list[Path] = []
    for name in names:
        exact = folder / name
        matches = [exact] if exact.is_file() else sorted(folder.glob(name))
        if not matches:
            raise InputError(f"{where}: {name!r} names no file in {folder}")
        found += matches
    return tuple(found)


def read_text(value: object, where: str) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise InputError(f"{where} is {value!r}; expected a word")
    return value


def require_positive(value: object, where: str) -> None:
    """Refuse what is not a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InputError(f"{where} is {value!r}; expected a positive number")


def require_count(value: object, where: str, least: int) -> None:
    """Refuse what is not a whole number, or is less than `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{where} is {value!r}; expected a whole number, {least} or more")
