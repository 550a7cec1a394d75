"""`fluxan extrapolate`."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fluxan.cli.command_options import Components, Json, Method, with_flux_options
from fluxan.cli.sized_runs import SizedValues, read_cells, values_of_cells
from fluxan.cli.tables import aligned
from fluxan.cli.wording import for_command_line
from fluxan.errors import FileError, InputError

if TYPE_CHECKING:
    from fluxan.greenkubo.size_extrapolation import SizeExtrapolation

#: Power of 1/L by the name of the abscissa.
_POWERS = {"1/L": 1.0, "1/N": 3.0}


@with_flux_options
def extrapolate(
    flux: Annotated[
        list[Path] | None, typer.Argument(metavar="FLUX...", help="Flux files of two sizes or more; several per size.")
    ] = None,
    *,
    table: Annotated[
        Path | None, typer.Option(help="CSV file in place of fluxes: columns n_atoms (or length), kappa, sigma.")
    ] = None,
    atoms: Annotated[
        str | None, typer.Option(help="Number of atoms of each FLUX: 108,256,500; from the files if unset.")
    ] = None,
    lengths: Annotated[
        str | None, typer.Option(help="Length of each FLUX's cell, Å: 17.2,22.9; cube root of the volume if unset.")
    ] = None,
    law: Annotated[
        str, typer.Option(help="linear: κ = κ∞ + c/L; inverse: 1/κ = 1/κ∞ + c/L; constant: the weighted mean.")
    ] = "linear",
    against: Annotated[str, typer.Option(help="1/L or 1/N.")] = "1/L",
    direction: Annotated[str | None, typer.Option(help="x, y or z; the mean of the three if unset.")] = None,
    method: Method = "default",
    components: Components = "auto",
    proportional: Annotated[
        bool | None,
        typer.Option(
            "--proportional/--fixed",
            help="Whether errors grow with the values, as those of Green-Kubo do; if unset, those of tables and of "
            "runs under a driving force are fixed.",
        ),
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="File (.png, .svg, .pdf) for κ against 1/L.")] = None,
    json: Json = False,
    reader: dict[str, Any],
) -> None:
    """Fit the conductivity of several cells against their size, and extrapolate to infinite size.

    Example: fluxan extrapolate 108.nc 256.nc 500.nc --figure size.png

    Example: fluxan extrapolate --table kappa.csv --law inverse
    """
    from fluxan.greenkubo.size_extrapolation import extrapolate as fit

    _check(law=law, against=against, direction=direction)
    if bool(flux) == (table is not None):
        raise InputError("give either flux files or --table FILE")
    if table is not None:
        _refuse_with_table(reader, atoms=atoms, lengths=lengths, direction=direction)
        values = _of_table(table)
    else:
        sizes = _sizes(len(flux or []), atoms=atoms, lengths=lengths)
        cells = read_cells(flux or [], reader, method=method, components=components)
        values = values_of_cells(cells, sizes, of="length" if lengths else "atoms", axis=direction)
    proportional = values.proportional if proportional is None else proportional
    try:
        found = fit(
            values.sizes, values.kappa, values.error,
            power=_POWERS[against], law=law, of=values.of, weights=values.weights, proportional=proportional,
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"{values.source}: {error}") from None
    typer.echo(json_module.dumps(facts(found, values)) if json else _report(found, values))
    if not json:
        for warning in (*values.warnings, *found.warnings):
            print(f"fluxan: warning: {for_command_line(warning)}", file=sys.stderr)
    if figure is not None:
        from fluxan.cli.kappa_command import save_figure
        from fluxan.report.extrapolation_figure import draw_extrapolation

        save_figure(draw_extrapolation(found, unit=values.unit, length_unit=values.length_unit), figure)


def _check(**given: str | None) -> None:
    """Refuse words that are not known."""
    from fluxan.greenkubo.size_extrapolation import LAWS

    for name, known in {"law": LAWS, "against": tuple(_POWERS), "direction": (None, *"xyz")}.items():
        if given[name] not in known:
            *others, last = filter(None, known)
            raise InputError(f"{name} is {given[name]}, expected {', '.join(others)} or {last}")


def _sizes(n_files: int, **given: str | None) -> list[float] | None:
    """Numbers of atoms or lengths that were given, one for each file."""
    named = {name: text for name, text in given.items() if text is not None}
    if len(named) > 1:
        raise InputError("give atoms= or lengths=, not both")
    for name, text in named.items():
        try:
            numbers = [float(number) for number in text.split(",")]
        except ValueError:
            raise InputError(f"{name}={text} is not a list of numbers such as 108,256,500") from None
        if len(numbers) != n_files:
            raise InputError(f"{name}= has {len(numbers)} numbers, expected one for each of {n_files} files")
        return numbers
    return None


def _refuse_with_table(reader: dict[str, Any], **given: Any) -> None:
    """Refuse options that are for flux files."""
    for name, value in (reader | given).items():
        if value is not None:
            raise InputError(f"{name}={value} is for flux files; a table has its own sizes and values")


def _of_table(path: Path) -> SizedValues:
    """Columns of a CSV file; empty lines and those that begin with # are left out."""
    import csv

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not a text file"
        raise FileError(f"{path} cannot be read: {reason}") from None
    lines = [(k, line) for k, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    rows = [(k, [cell.strip() for cell in next(csv.reader([line]))]) for k, line in lines]
    header = rows[0][1] if rows else []
    size = "length" if "length" in header and "n_atoms" not in header else "n_atoms"
    missing = [name for name in (size, "kappa", "sigma") if name not in header]
    if missing:
        raise InputError(
            f"{path} has the columns {', '.join(header) or '(none)'}, expected n_atoms or length, kappa and sigma"
        )
    sizes: list[float] = []
    kappa: list[float] = []
    sigma: list[float] = []
    for number, cells in rows[1:]:
        for column, name in zip((sizes, kappa, sigma), (size, "kappa", "sigma"), strict=True):
            cell = cells[header.index(name)] if header.index(name) < len(cells) else ""
            try:
                column.append(float(cell))
            except ValueError:
                raise InputError(f"{path}, line {number}: {name} is {cell!r}, expected a number") from None
    return SizedValues(sizes, kappa, sigma, of="atoms" if size == "n_atoms" else "length", source=str(path))


def _report(found: SizeExtrapolation, values: SizedValues) -> str:
    """Result and tables as text."""
    from fluxan.report.extrapolation_figure import abscissa
    from fluxan.rounding import value_and_error as value

    points, unit = found.points, f" {values.unit}" if values.unit else ""
    head = f"κ∞ = {value(found.kappa, found.error)}{unit}"
    runs = f"{len(points.sizes)} sizes, {points.n_runs.sum()} values"
    lines = [head, f"{found.law} law in {abscissa(found)}, {runs}; preferred by the values: {found.preferred}", ""]
    size = "atoms" if found.of == "atoms" else "L (Å)" if values.length_unit else "length"
    named = f"κ ± σ ({values.unit})" if values.unit else "κ ± σ"
    if values.cells:
        kelvin = "T (K)" if values.unit else "T"
        listed = zip(values.cells, values.sizes, values.kappa, values.error, strict=True)
        rows = [[c.path.name, f"{s:.5g}", f"{c.result.temperature:.5g}", value(k, e)] for c, s, k, e in listed]
        lines += [_columns(["file", size, kelvin, named], rows), ""]
    fitted = found.fit.curve(points.x)[0]
    rows = [
        [f"{s:.5g}", f"{x:.4g}", str(n), value(k, e), f"{v:.4g}", f"{(k - v) / e:+.1f}".replace("-", "−")]
        for s, x, n, k, e, v in zip(*points[:2], points.n_runs, points.values, points.errors, fitted, strict=True)
    ]
    lines += [_columns([size, abscissa(found), "runs", named, "fit", "(κ − fit)/σ"], rows), ""]
    rows = [
        [one.law, value(one.kappa, one.error), value(one.slope, one.slope_error) if one.slope else "-",
         f"{one.chi_squared:.3g} / {one.dof}", "-" if one.p_value is None else f"{one.p_value:.2g}",
         f"{one.weight:.2g}"]
        for one in found.laws.values()
    ]  # fmt: skip
    lines += [_columns(["law", f"κ∞ ± σ{f' ({values.unit})' * bool(unit)}", "c", "χ² / dof", "p", "weight"], rows)]
    reach = f"extrapolated over {found.distance:.2g} times the range of {abscissa(found)} that the cells span"
    return "\n".join([*lines, "", reach, *map(for_command_line, (*values.notes, *found.notes))])


def _columns(header: list[str], rows: list[list[str]]) -> str:
    """A table without the line of units where there are none."""
    return "\n".join(line for line in aligned(header, rows).splitlines() if line)


def facts(found: SizeExtrapolation, values: SizedValues) -> dict[str, Any]:
    """All numbers as plain values; None for an infinite bound."""
    names = ("kappa", "error", "law", "systematic", "preferred", "slope_p_value", "distance", "of", "power")
    plain: dict[str, Any] = {name: getattr(found, name) for name in names} | {"unit": values.unit}
    bounds = found.fit.interval(2.0)
    plain["interval_2_sigma"] = [bound if np.isfinite(bound) else None for bound in bounds]
    of_law = ("kappa", "error", "slope", "slope_error", "chi_squared", "dof", "p_value", "scale", "weight")
    plain["laws"] = {name: {key: getattr(law, key) for key in of_law} for name, law in found.laws.items()}
    columns = {"size": "sizes", "x": "x", "n_runs": "n_runs", "kappa": "values", "error": "errors"}
    plain["points"] = {name: getattr(found.points, column).tolist() for name, column in columns.items()}
    listed = zip(values.cells, values.sizes, values.kappa, values.error, strict=False)
    plain["files"] = [
        {"file": str(c.path), "size": s, "temperature": c.result.temperature, "kappa": k, "error": e}
        for c, s, k, e in listed
    ]
    for name in ("notes", "warnings"):
        plain[name] = list(map(for_command_line, (*getattr(values, name), *getattr(found, name))))
    return plain
