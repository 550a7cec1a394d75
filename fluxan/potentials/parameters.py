"""Reads and checks the parameter tables of analytic potentials, and writes them back as TOML.

A model file looks like

    kind = "lennard-jones"
    cutoff = 8.5
    [pairs]
    Ar-Ar = { epsilon = 0.0103235, sigma = 3.405 }
    Ar-Kr = { epsilon = 0.01202, sigma = 3.5275 }

where each line below ``[pairs]`` is a row of the table ``pairs``.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fluxan.errors import FileError, InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Row = dict[str, float]


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings.

    Raises
    ------
    FileError
        It is missing, or not readable.
    InputError
        It is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of a parameter table.

    Attributes
    ----------
    unit : str
        Its unit; empty if it has none.
    default : float or None
        Value where the table does not give one.
    optional : bool
        Whether it may be missing without a default; the row then lacks it.
    positive : bool
        Whether it must be greater than zero.
    non_negative : bool
        Whether it must not be less than zero.
    """

    unit: str = ""
    default: float | None = None
    optional: bool = False
    positive: bool = False
    non_negative: bool = False


def read_number(value: object, where: str, parameter: Parameter) -> float:
    """Return `value` as a finite float that `parameter` allows, or raise `ModelError`, naming the key `where`."""
    unit = f" ({parameter.unit})" if parameter.unit else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelError(f"{where} is {value!r}; expected a number{unit}")
    if not math.isfinite(value):
        raise ModelError(f"{where} is {value}; expected a finite number{unit}")
    if parameter.positive and value <= 0:
        raise ModelError(f"{where} is {value}; it must be positive{unit}")
    if parameter.non_negative and value < 0:
        raise ModelError(f"{where} is {value}; it must not be negative{unit}")
    return float(value)


def read_choice(value: object, where: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`; otherwise raise `ModelError`, naming the key `where`."""
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise ModelError(f"{where} is {value!r}; expected one of {', '.join(choices)}")
    return value


def check_keys(keys: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise `ModelError` for the first unknown key, suggesting the known key that is most similar."""
    known = tuple(known)
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise ModelError(f"{where}{key} is not a known key; {hint}")


def read_row(values: object, parameters: Mapping[str, Parameter], where: str) -> Row:
    """Check one row, e.g. ``{epsilon = 0.01, sigma = 3.4}``; returns it with defaults, in the order of `parameters`."""
    if not isinstance(values, Mapping):
        raise ModelError(f"{where} is {values!r}; expected a table like {{ {', '.join(parameters)} }}")
    check_keys(values, parameters, f"{where}.")
    row = {}
    for name, parameter in parameters.items():
        if name in values:
            row[name] = read_number(values[name], f"{where}.{name}", parameter)
        elif parameter.default is not None:
            row[name] = parameter.default
        elif not parameter.optional:
            unit = f" ({parameter.unit})" if parameter.unit else ""
            raise ModelError(f"{where}.{name}{unit} is missing")
    return row


def read_elements(label: str, count: int, where: str) -> tuple[int, ...]:
    """Atomic numbers of a label like ``Ar-Kr``, which must name `count` elements."""
    from ase.data import atomic_numbers

    symbols = label.split("-")
    if len(symbols) != count:
        raise ModelError(f"{where}.{label} names {len(symbols)} elements; expected {count} joined by '-'")
    for symbol in symbols:
        if atomic_numbers.get(symbol, 0) == 0:
            near = difflib.get_close_matches(symbol, atomic_numbers, n=1, cutoff=0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ModelError(f"{where}.{label}: {symbol!r} is no element{hint}")
    return tuple(atomic_numbers[symbol] for symbol in symbols)


def read_pairs(pairs: object, parameters: Mapping[str, Parameter], where: str = "pairs") -> dict[tuple[int, int], Row]:
    """Check a table of pairs; returns rows in order of atomic numbers, smaller first. Each pair may be given once."""
    if not isinstance(pairs, Mapping) or not pairs:
        raise ModelError(f"{where} must be a table of element pairs like Ar-Kr = {{ {', '.join(parameters)} }}")
    rows: dict[tuple[int, int], Row] = {}
    labels: dict[tuple[int, int], str] = {}
    for label, values in pairs.items():
        first, second = sorted(read_elements(label, 2, where))
        if (first, second) in rows:
            raise ModelError(f"{where}.{label} repeats {where}.{labels[first, second]}; give each pair once")
        rows[first, second] = read_row(values, parameters, f"{where}.{label}")
        labels[first, second] = label
    return dict(sorted(rows.items()))


def elements_of(keys: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    """Atomic numbers that occur in the keys of a table, ascending."""
    return tuple(sorted({number for key in keys for number in key}))


def require_all_pairs(rows: Mapping[tuple[int, int], Row], where: str = "pairs", *, hint: str = "") -> None:
    """Raise `ModelError` for the first pair of a table's elements that the table lacks."""
    elements = elements_of(rows)
    for i, first in enumerate(elements):
        for second in elements[i:]:
            if (first, second) not in rows:
                raise ModelError(f"{where}.{label_of(first, second)} is missing{hint}")


def label_of(*numbers: int) -> str:
    """Label of atomic numbers, e.g. ``Ar-Kr``."""
    from ase.data import chemical_symbols

    return "-".join(chemical_symbols[number] for number in numbers)


def write_toml(settings: Mapping[str, object]) -> str:
    """Write strings, numbers, and tables of numbers or rows as TOML text, from which floats are read back exactly."""
    flat = {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    lines = [f"{key} = {_toml_value(value)}" for key, value in flat.items()]
    for key, table in settings.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{key}]"] + [f"{label} = {_toml_value(row)}" for label, row in table.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml_value(number)}" for key, number in value.items()) + " }"
    return f'"{value}"' if isinstance(value, str) else repr(value)
