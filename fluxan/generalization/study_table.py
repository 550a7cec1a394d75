"""The records of a study of defects as a table, and the slopes of errors against L."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fluxan.errors import InputError
from fluxan.generalization.observations import UNITS
from fluxan.generalization.power_laws import PowerLaw, fit_power_law
from fluxan.replacement import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

#: Letters of observations.
LETTERS = {"energy": "E", "forces": "F", "force_constants": "FC", "virial": "V"}
#: Dimension of the crystals of point defects.
DIMENSION = 3

Record = dict[str, Any]


class Slope(NamedTuple):
    """Exponent of an error, mostly against L.

    Attributes
    ----------
    defect, observations, lattice : str
        Which models, and in which cell.
    quantity : str
        "geometry", "energy", "force constants beyond L" (divided by ε_FC) or "anharmonic beyond L", against L; or
        "relaxation energy by geometry", between the energies at the reference's and the model's own structure.
    predicted : float
        By C. Ortner, Y. Wang (arXiv:2209.05366).
    law : PowerLaw or None
        None where fewer than three sizes give a number.
    """

    defect: str
    observations: str
    lattice: str
    quantity: str
    predicted: float
    law: PowerLaw | None

    @property
    def verdict(self) -> str:
        """Whether the prediction is seen."""
        return "too few sizes" if self.law is None else self.law.verdict(self.predicted)


def letters(observations: Iterable[str]) -> str:
    """Short name of a set, such as "E F FC"."""
    return " ".join(LETTERS[name] for name in observations)


def slopes_of(records: Sequence[Record]) -> list[Slope]:
    """Exponents of the errors of point defects against L, by defect and set, at the reference's lattice constant.

    Parameters
    ----------
    records : sequence of dict
        From `run_study`.
    """
    found = []
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if not record["line"] and record["lattice"] == "reference":
            groups.setdefault((record["defect"], letters(record["observations"]), record["lattice"]), []).append(record)
    for (defect, named, lattice), rows in groups.items():
        exact = "FC" in named.split()
        quantities = {
            "geometry": (-(1.5 if exact else 0.5) * DIMENSION, [row["geometry"] for row in rows]),
            "energy": (-(2.0 if exact else 1.0) * DIMENSION, [_magnitude(row["energy"]) for row in rows]),
        }
        quantities["force constants beyond L"] = (-0.5 * DIMENSION, [_relative(row) for row in rows])
        beyond = [None if row["parts"] is None else row["parts"]["anharmonic"] for row in rows]
        quantities["anharmonic beyond L"] = (-1.5 * DIMENSION, beyond)
        for quantity, (predicted, values) in quantities.items():
            found.append(Slope(defect, named, lattice, quantity, predicted, _fit([row["L"] for row in rows], values)))
    return found + [_relaxation(defect, records) for defect in dict.fromkeys(key[0] for key in groups)]


def _relaxation(defect: str, records: Sequence[Record]) -> Slope:
    """Energy that the model gains by its own relaxation against the geometry error, over all sets and sizes."""
    rows = [r for r in records if r["defect"] == defect and r["energy_at_reference"] is not None]
    gained = [abs(row["energy_at_reference"] - row["energy"]) for row in rows]
    law = _fit([row["geometry"] for row in rows], list(gained))
    return Slope(defect, "all", "reference", "relaxation energy by geometry", 2.0, law)


def _magnitude(value: float | None) -> float | None:
    return None if value is None else abs(value)


def _relative(record: Record) -> float | None:
    """The part of the force constants over their error."""
    if record["parts"] is None or not record["fit"].get("force_constants"):
        return None
    return float(record["parts"]["force_constants"] / record["fit"]["force_constants"])


def _fit(lengths: list[float], values: list[float | None]) -> PowerLaw | None:
    usable = [(x, y) for x, y in zip(lengths, values, strict=True) if y is not None and np.isfinite(y) and y > 0]
    try:
        return fit_power_law(*np.transpose(usable)) if usable else None
    except InputError:
        return None


def table_of(records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Heading and rows of the table: errors of the fit, of the geometry and of the energy.

    Parameters
    ----------
    records : sequence of dict
        From `run_study`.
    """
    header = ["defect", "L (Å)", "atoms", "structures", "fitted", "lattice"]
    header += [f"ε_{LETTERS[name]} ({'meV' + unit[2:].replace('A', 'Å')})" for name, unit in UNITS.items()]
    header += ["geometry (Å)", "energy (meV)", "core (Å)", "FC > L (Å)", "rest > L (Å)"]
    rows = []
    for record in records:
        parts = record["parts"] or {}
        cells = [
            record["defect"],
            f"{record['L']:.1f}",
            str(record["atoms"]),
            str(record["structures"]),
            letters(record["observations"]),
            record["lattice"],
        ]
        cells += [_number(record["fit"].get(name), 1e3) for name in UNITS]
        cells += [_number(record["geometry"]), _number(record["energy"], 1e3)]
        cells += [_number(parts.get(name)) for name in ("core", "force_constants", "anharmonic")]
        rows.append(cells)
    return header, rows


def _number(value: float | None, factor: float = 1.0) -> str:
    return "-" if value is None else f"{factor * value:.3g}"


def write_table(records: Sequence[Record], path: Path) -> None:
    """Write all numbers of the records as CSV, one row each.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    names = ["defect", "cells", "L", "atoms", "structures", "observations", "lattice", "lattice_ratio"]
    last = ["geometry", "reference_norm", "energy", "energy_at_reference", "reason"]
    header = [*names, *(f"fit_{name}" for name in UNITS), "test_energy", "test_forces", *last]
    header += ["core", "force_constants_beyond", "anharmonic_beyond"]
    with replacing(path, parents=True) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for record in records:
            parts = record["parts"] or {}
            row = [letters(record[name]) if name == "observations" else record[name] for name in names]
            row += [record["fit"].get(name) for name in UNITS]
            row += [record["test"].get(name) for name in ("energy", "forces")]
            row += [record[name] for name in last]
            row += [parts.get(name) for name in ("core", "force_constants", "anharmonic")]
            writer.writerow(row)
