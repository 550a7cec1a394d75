"""Flux files of several sizes: their conductivities, sizes, and what speaks against fitting them together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fluxan.errors import InputError
from fluxan.greenkubo.result import Conductivity
from fluxan.report.verdicts import direction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fluxan.greenkubo.driven import DrivenConductivity

#: Relative differences of temperature, and of volume per atom, beyond which files do not belong together.
_TEMPERATURES, _DENSITIES = 0.02, 0.01
#: Cosine above which two directions are the same.
_PARALLEL = 1 - 1e-6


class SizedRun(NamedTuple):
    """One flux file: its conductivity, number of atoms (None where it is not recorded) and hash of the model."""

    path: Path
    result: Conductivity | DrivenConductivity
    n_atoms: float | None
    model: str

    def along(self, axis: str | None) -> tuple[float, float]:
        """κ and its error along an axis, or as a whole: the mean of the three, or along a driving force.

        Raises
        ------
        InputError
            The driving force is not along the axis.
        """
        result = self.result
        if axis is None:
            return result.kappa, result.error
        k = "xyz".index(axis)
        if isinstance(result, Conductivity):
            return float(result.directions.value[k]), float(result.directions.error[k])
        if abs(result.driving_force[k]) < _PARALLEL * result.strength:
            raise InputError(
                f"{self.path} has κ along its driving force {direction(result)} alone, not direction={axis}"
            )
        return result.kappa, result.error


class SizedValues(NamedTuple):
    """What is fitted, with units, weights of runs of one size, the files, and what is doubtful.

    Runs of one size are weighted by their lengths: errors that are estimated from the same flux as κ are small where κ
    is low by chance, and weights from them would pull the mean down. Those of a mean flux under a driving force are
    independent of it: they are taken as they are, and give the weights.
    """

    sizes: list[float]
    kappa: list[float]
    error: list[float]
    of: str
    source: str
    unit: str = ""
    length_unit: str = ""
    weights: list[float] | None = None
    cells: tuple[SizedRun, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    proportional: bool = False


def read_cells(paths: Sequence[Path], reader: dict[str, Any], **settings: Any) -> list[SizedRun]:
    """Conductivity of every file, as `fluxan kappa` finds it."""
    from fluxan.cli.hnemd_output import read_driven
    from fluxan.correlation.state_file import is_state_file
    from fluxan.report.study import study_file
    from fluxan.series.flux_dataset import is_flux_file, open_flux
    from fluxan.series.readers.flux_correlation import correlation_format

    if "volume" in reader:
        raise InputError("volume= is one number for cells of several sizes; give a --table of values of fluxan kappa")
    cells = []
    for path in paths:
        if path.is_file() and (is_state_file(path) or correlation_format(path, reader.get("form"))):
            raise InputError(f"{path} is a correlation function; put its κ, found by fluxan kappa, into a --table")
        driven = read_driven(path, reader, **settings)
        result = (driven or study_file(path, reader=reader, compare=(), **settings)).result
        attributes: dict[str, Any] = {}
        if is_flux_file(path):
            with open_flux(path) as dataset:
                attributes = dict(dataset.attrs)
        known = attributes.get("n_atoms")
        cells.append(
            SizedRun(path, result, None if known is None else float(known), attributes.get("model_sha256", ""))
        )
        _refuse_copies(cells)
    return cells


def _refuse_copies(cells: Sequence[SizedRun]) -> None:
    """Refuse a run that is given twice: it would count as two independent ones."""
    seen: dict[tuple[float, ...], Path] = {}
    for cell in cells:
        same = seen.setdefault((cell.result.kappa, cell.result.error, cell.result.volume), cell.path)
        if same is not cell.path:
            raise InputError(f"{same} and {cell.path} hold the same run; runs of one size must be independent")


def values_of_cells(cells: Sequence[SizedRun], given: list[float] | None, *, of: str, axis: str | None) -> SizedValues:
    """Sizes and conductivities of files that belong together; sizes are `given` (kind `of`), or recorded."""
    first = cells[0].result
    for cell in cells[1:]:
        for name, mine, theirs in (
            ("unit", cell.result.unit, first.unit),
            ("carriers", cell.result.labels, first.labels),
        ):
            if mine != theirs:
                raise InputError(f"{cell.path} has the {name} {_words(mine)}, {cells[0].path} {_words(theirs)}")
    recorded = [cell.n_atoms for cell in cells if cell.n_atoms is not None]
    sizes = given or (recorded if len(recorded) == len(cells) else None)
    known = sizes if of == "atoms" else None
    notes: tuple[str, ...] = ()
    if sizes is None:
        sizes, of = [cell.result.volume ** (1 / 3) for cell in cells], "length"
        notes = ("sizes are cube roots of volumes: not all files record their numbers of atoms",)
    pairs = [cell.along(axis) for cell in cells]
    equilibrium = _in_equilibrium(cells)
    proportional = len(equilibrium) == len(cells)
    reduced = first.unit == "reduced"
    return SizedValues(
        sizes, [kappa for kappa, _ in pairs], [error for _, error in pairs], of,
        source=f"{len(cells)} flux file{'s' * (len(cells) > 1)}", unit="" if reduced else first.unit,
        length_unit="" if reduced else "Å", cells=tuple(cells), notes=notes,
        weights=[result.diagnostics.length for result in equilibrium] if proportional else None,
        warnings=tuple(_doubts(cells, known, axis)), proportional=proportional,
    )  # fmt: skip


def _in_equilibrium(cells: Sequence[SizedRun]) -> list[Conductivity]:
    return [cell.result for cell in cells if isinstance(cell.result, Conductivity)]


def _words(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _doubts(cells: Sequence[SizedRun], n_atoms: Sequence[float] | None, axis: str | None) -> Iterator[str]:
    """Evidence that files do not belong together, and the warnings of each."""
    temperatures = np.array([cell.result.temperature for cell in cells])
    if np.ptp(temperatures) > _TEMPERATURES * temperatures.mean():
        yield (
            f"temperatures go from {temperatures.min():.5g} to {temperatures.max():.5g}: a part of the difference "
            "between the sizes may be theirs"
        )
    if n_atoms is not None:
        volumes = np.array([cell.result.volume for cell in cells]) / n_atoms
        if np.ptp(volumes) > _DENSITIES * volumes.mean():
            yield f"volumes per atom go from {volumes.min():.4g} to {volumes.max():.4g}; sizes should differ alone"
    if len({cell.model for cell in cells}) > 1:
        yield "the fluxes are of different models"
    equilibrium = _in_equilibrium(cells)
    if len({result.components for result in equilibrium}) > 1:
        yield "κ is at zero mass flux for some files and uncorrected for others; give components=multi or single"
    if axis is None and not all(result.isotropic for result in equilibrium):
        yield "κ depends on the direction, and its mean was extrapolated; give direction=x, y or z"
    forces = [d.driving_force / d.strength for d in (c.result for c in cells) if not isinstance(d, Conductivity)]
    if forces and np.abs(np.array(forces) @ forces[0]).min() < _PARALLEL:
        yield "the driving forces have different directions"
    for cell in cells:
        yield from (f"{cell.path.name}: {warning}" for warning in cell.result.warnings)
