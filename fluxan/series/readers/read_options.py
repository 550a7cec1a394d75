"""Options with which a user supplies what a flux file does not record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


class FluxFileOptions(TypedDict, total=False):
    """Options of `fluxan.fluxfiles.read_flux`, which documents them."""

    columns: Sequence[str] | str | None
    labels: Sequence[str] | str | None
    units: str | None
    dt: float | None
    timestep: float | None
    volume: float | None
    temperature: float | None
    density: bool | None
    run: int | None
    quantities: Sequence[str] | str | None
    mass_flux: Sequence[str] | str | None
    per_atom: bool | None
    until_crash: bool


@dataclass(frozen=True)
class ReadOptions:
    """`FluxFileOptions`, validated, with lists of column names split into words."""

    columns: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    units: str | None = None
    dt: float | None = None
    timestep: float | None = None
    volume: float | None = None
    temperature: float | None = None
    density: bool | None = None
    run: int | None = None
    quantities: Sequence[str] | None = None
    mass_flux: Sequence[str] | None = None
    per_atom: bool | None = None
    until_crash: bool = False

    @classmethod
    def of(cls, options: FluxFileOptions) -> ReadOptions:
        """Validate options, and split strings of several words.

        Raises
        ------
        InputError
            A number is not positive and finite.
        TypeError
            An option is not known.
        """
        unknown = [name for name in options if name not in FluxFileOptions.__annotations__]
        if unknown:
            raise TypeError(f"read_flux() got an unexpected keyword argument {unknown[0]!r}")
        words = {name: _words(options.get(name)) for name in ("columns", "labels", "quantities", "mass_flux")}
        return cls(**{**options, **words})  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        """Refuse numbers that are not positive and finite."""
        for name in ("dt", "timestep", "volume", "temperature"):
            value = getattr(self, name)
            if value is not None and not (np.isreal(value) and 0 < value < np.inf):
                raise InputError(f"{name} is {value!r}, expected a positive number")


def _words(words: object) -> list[str] | None:
    """Words of a text or of several."""
    if words is None:
        return None
    texts = [words] if isinstance(words, str) else words
    return [word for text in texts for word in re.split(r"[,\s]+", text) if word]  # type: ignore[attr-defined]
