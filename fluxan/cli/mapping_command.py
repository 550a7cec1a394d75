"""`fluxan mapping`."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxan.cli.command_options import Json, named_model, with_model_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.training.invariant_points import InvariantPoint
    from fluxan.training.mapping import MappingReport
    from fluxan.trajectory.labelled_files import ReadFrame
    from fluxan.trajectory.labelled_frame import LabelledFrame

#: MODEL of a check before the training.
NO_MODEL = "none"
#: Structures that are listed as no invariant points.
_SHOWN = 5


@with_model_options
def mapping(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Potential, or none: what the training set leaves undetermined.")
    ],
    structures: Annotated[
        list[Path],
        typer.Argument(metavar="STRUCTURES...", help="Structures with energies: extended XYZ, ASE .traj or .db."),
    ],
    *,
    adapter: dict[str, Any],
    training: Annotated[
        list[Path] | None, typer.Option(help="Training frames, or the .toml file of the training; once per file.")
    ] = None,
    candidates: Annotated[
        list[Path] | None, typer.Option(help="Structures that could be added to the training set; once per file.")
    ] = None,
    units: Annotated[str, typer.Option(help="Unit of the energies: eV, meV, Hartree, Ry, kcal/mol, kJ/mol.")] = "eV",
    energy_key: Annotated[str, typer.Option(help="Name of the energies in the files.")] = "energy",
    tolerance: Annotated[float | None, typer.Option(help="Of symmetry, Å; 0.001 if unset.")] = None,
    limit: Annotated[float | None, typer.Option(help="Error called wrong, eV/atom; 0.01 if unset.")] = None,
    json: Json = False,
) -> None:
    """Check atomic energies where symmetry tells them, and which offsets a training set leaves undetermined.

    Example: fluxan mapping model.safetensors strained.xyz --training train.toml --candidates slabs.xyz
    """
    from fluxan.training.mapping import MappingSettings, atomic_energy_mapping

    usual = MappingSettings()
    settings = MappingSettings(
        symmetry=usual.symmetry if tolerance is None else tolerance, limit=usual.limit if limit is None else limit
    )
    potential = None if model == NO_MODEL else named_model(model, adapter)
    if isinstance(potential, str):
        from fluxan.potentials.load import load_model

        potential = load_model(potential)
    compared = _named(_read(structures, units, energy_key))
    frames, note = _training(training or [], model, units, energy_key)
    if potential is None and not frames:
        frames, note = list(compared.values()), "no training frames given: STRUCTURES are taken as the training set"
    others = _named(_read(candidates, units, energy_key)) if candidates else None
    report = atomic_energy_mapping(potential, compared, frames or None, others, settings=settings)
    typer.echo(json_module.dumps(_facts(report, note)) if json else "\n".join(_lines(report, note)))


def _read(paths: Sequence[Path], units: str, energy_key: str) -> list[ReadFrame]:
    """Frames with their energies; stresses, virials and velocities are of no use here, whatever their units."""
    from fluxan.trajectory.labelled_files import LabelKeys, LabelUnits, read_labelled

    known = LabelUnits(energy=units, virial="eV", velocities="A/ps")
    known.factor("energy")
    return list(read_labelled(paths, known, LabelKeys(energy=energy_key, stress="", virial="")))


def _named(read: Sequence[ReadFrame]) -> dict[str, LabelledFrame]:
    return {item.where: item.labelled for item in read}


def _training(paths: Sequence[Path], model: str, units: str, energy_key: str) -> tuple[list[LabelledFrame], str]:
    """Training frames, and a note on whether they are those of the model."""
    frames: list[LabelledFrame] = []
    hashes = set()
    for path in paths:
        if path.suffix == ".toml":
            from fluxan.training.training_config import read_training_config
            from fluxan.training.training_job import load_data

            train = load_data(read_training_config(path).data).train
            frames += train.frames
            hashes.add(train.sha256)
        else:
            frames += [item.labelled for item in _read([path], units, energy_key)]
    recorded = _recorded_hash(model)
    if not frames:
        known = "; no training frames given: an invariant point may be one of them" if model != NO_MODEL else ""
        return [], known.removeprefix("; ")
    if recorded is None or not hashes:
        return frames, ""
    own = "are those" if recorded in hashes else "are not those"
    return frames, f"the training frames {own} that the model file records"


def _recorded_hash(model: str) -> str | None:
    """Hash of the training frames in a model file of fluxan."""
    path = Path(model)
    if path.suffix != ".safetensors" or not path.is_file():
        return None
    from fluxan.potentials.model_file import training_record

    record = training_record(path)
    return record.get("data") or record.get("identity", {}).get("training data")


def _lines(report: MappingReport, note: str) -> list[str]:
    lines = []
    if report.points:
        width = max(9, *(len(point.name) for point in report.points))
        head = f"{'structure':<{width}}  {'group':<9}{'formula':<9}{'label':>11}{'model':>11}{'spread':>9}{'error':>11}"
        lines += [f"{head}  (eV per formula unit; spread eV; error meV/atom)"]
        lines += [_row(point, width) for point in report.points]
    lines += [f"not an invariant point: {name}: {reason}" for name, reason in _few(report.others)]
    if len(report.others) > _SHOWN:
        lines.append(f"not invariant points: {len(report.others) - _SHOWN} more")
    if report.offsets is not None:
        lines += ["", f"{'class of atoms':<44}{'mean number':>12}"]
        means = report.offsets.counts.mean(axis=0)
        lines += [f"{name:<44}{mean:>12.4g}" for name, mean in zip(report.offsets.names, means, strict=True)]
    if report.candidates:
        width = max(44, *(len(one.name) for one in report.candidates))
        head = f"{'candidate, in the order in which to add them':<{width}}{'adds':>8}{'alone':>8}"
        lines += ["", f"{head}  (eV/atom per eV of offset)"]
        lines += [
            f"{one.name:<{width}}{one.score:>8.3f}{one.alone:>8.3f}{_strange(one.strangers)}"
            for one in report.candidates
        ]
    return [*lines, "", report.verdict, *([note] if note else [])]


def _few(others: dict[str, str]) -> list[tuple[str, str]]:
    return list(others.items())[:_SHOWN]


def _row(point: InvariantPoint, width: int) -> str:
    label, predicted = ("-" if value is None else f"{value:.4f}" for value in (point.reference, point.predicted))
    spread = "-" if point.predicted is None else f"{point.spread:.1e}"
    error = "-" if point.error is None else f"{1e3 * point.error:+.4g}"
    where = "  in the training set" if point.in_training else _strange(point.strangers or 0.0)
    words = f"{point.name:<{width}}  {point.space_group:<9}{point.formula:<9}"
    return f"{words}{label:>11}{predicted:>11}{spread:>9}{error:>11}{where}"


def _strange(share: float) -> str:
    return f"  {share:.0%} of its atoms unlike any in training" if share else ""


def _facts(report: MappingReport, note: str) -> dict[str, Any]:
    space = report.offsets
    return {
        "points": [asdict(point) | {"error": point.error} for point in report.points],
        "others": report.others,
        "classes": None if space is None else list(space.names),
        "undetermined": None if space is None else [asdict(one) for one in space.undetermined],
        "singular_values": None if space is None else space.singular_values.tolist(),
        "candidates": [asdict(one) for one in report.candidates],
        "training_error": report.training_error,
        "limit": report.limit,
        "largest_error": report.largest_error,
        "ad_hoc": report.is_ad_hoc,
        "verdict": report.verdict,
        "note": note,
    }
