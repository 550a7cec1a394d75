"""Advice on a training set: which part of a defect's error is largest, and what to change to lower it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fluxan.generalization.observations import UNITS
from fluxan.generalization.study_table import letters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.generalization.study_config import StudyConfig
    from fluxan.generalization.study_table import Record

#: Force errors of the test structures over those of the training structures, above which more structures would help.
_OVERFITTED = 1.3
#: Factor of a weight that is to be raised.
_RAISED = 10.0
#: Least displacement that is advised, Å.
_NARROWEST = 0.01
#: Share of the reference's lattice constant that a model's may differ by.
_STRAIN = 1e-3


#: Where the training set does not know the defect.
_NO_DEFECT = "No training cell holds the defect: take relaxed and displaced ones in place of perfect crystals."


class Advice(NamedTuple):
    """What limits a model for one defect, and what to do.

    Attributes
    ----------
    defect : str
        Its name.
    limit : str
        "basin", "core", "force_constants", "anharmonic", "lattice" or, for dislocations, "elastic".
    text : str
        A sentence or two.
    changes : dict
        The same as changes of the file: ``{section: {key: value}}``.
    """

    defect: str
    limit: str
    text: str
    changes: dict[str, dict[str, Any]]


def advice_on(config: StudyConfig, records: Sequence[Record]) -> list[Advice]:
    """Advice on the best model of each defect: the one of smallest error, at the reference's lattice constant if there.

    Parameters
    ----------
    config : StudyConfig
        Settings of the study.
    records : sequence of dict
        From `run_study`.
    """
    found = []
    for name in config.defects:
        own = [record for record in records if record["defect"] == name]
        usable = [record for record in own if record["geometry"] is not None]
        split = [record for record in usable if record["parts"]]
        if split or usable:
            best = min(split or usable, key=lambda record: float(record["geometry"]))
            found += _lattice(config, name, best, own)
            found += [_of_parts(config, best, own)] if split else []
            found += [_of_line(config, best)] if config.defects[name].is_line else []
        elif own:
            found.append(_basin(config, own[-1]))
    return found


def _of_parts(config: StudyConfig, record: Record, own: Sequence[Record]) -> Advice:
    """Advice by the largest part of the geometry error; a change that the study has tried in vain is not advised."""
    parts = record["parts"]
    limit = max(parts, key=lambda name: float(parts[name]))
    fitted = record["observations"]
    begin = (
        f"{record['defect']}, {letters(fitted)} at L = {record['L']:.1f} A: of the geometry error of "
        f"{record['geometry']:.3g} A, forces within L cause {parts['core']:.2g} A, force constants beyond "
        f"{parts['force_constants']:.2g} A, the rest beyond {parts['anharmonic']:.2g} A. "
    )
    if limit == "force_constants":
        wanted = "force_constants" if "force_constants" not in fitted or "virial" in fitted else "virial"
        sets = [one["observations"] for one in own if one["cells"] == record["cells"]]
        if wanted in fitted or {*fitted, wanted} not in map(set, sets):
            return _observe(config, record, limit, begin, wanted)
        begin += f"{letters([wanted])} too has been tried, and is no better. "
    if limit == "anharmonic":
        larger = record["cells"] + 1
        if larger not in {one["cells"] for one in own if one["observations"] == fitted}:
            text = (
                f"{begin}Train on larger cells: training.cells up to {larger}, "
                f"and evaluation.cell from {2 * larger} on."
            )
            cell = max(config.evaluation.cell, 2 * larger)
            return Advice(
                record["defect"], limit, text, {"training": {"cells": [larger]}, "evaluation": {"cell": cell}}
            )
        begin += "A larger cell has been tried, and is no better. "
    return _core(config, record, begin)


def _observe(config: StudyConfig, record: Record, limit: str, begin: str, wanted: str) -> Advice:
    """Observe what is missing, or weigh it more."""
    fitted = list(record["observations"])
    if wanted not in record["fit"]:
        return _core(config, record, f"{begin}The reference gives no {wanted}. ")
    if wanted not in fitted:
        text = f"{begin}Fit {wanted} too, with a weight of {config.observations.weights[wanted]:g}."
        return Advice(record["defect"], limit, text, {"observations": {"sets": [[*fitted, wanted]]}})
    weight = _RAISED * config.observations.weights[wanted]
    text = f"{begin}Raise the weight of {wanted} to {weight:g}."
    changed = {**config.observations.weights, wanted: weight}
    return Advice(record["defect"], limit, text, {"observations": {"sets": [fitted], "weights": changed}})


def _of_line(config: StudyConfig, record: Record) -> Advice:
    """Advice on a dislocation, whose far field hangs on the elastic constants and the displacement of the basis."""
    fitted = record["observations"]
    begin = (
        f"{record['defect']}, {letters(fitted)}: of a geometry error of {record['geometry']:.3g} A, the part that "
        "grows with the radius is that of the elastic constants and of the displacement of the crystal's basis. "
    )
    for wanted in ("force_constants", "virial"):
        if wanted not in fitted:
            return _observe(config, record, "elastic", begin, wanted)
    return _core(config, record, begin)


def _core(config: StudyConfig, record: Record, begin: str) -> Advice:
    """Advice where the core is wrong: it is not in the training set, forces are not, data or functions are too few."""
    fitted, training = list(record["observations"]), config.training
    name = record["defect"]
    if training.around == "crystal" and not config.defects[name].is_line:
        text = begin + _NO_DEFECT
        return Advice(name, "core", text, {"training": {"around": "defect", "cells": [record["cells"]]}})
    if "forces" not in fitted:
        text = f"{begin}Fit forces too: a structure has one energy and 3 N forces."
        return Advice(name, "core", text, {"observations": {"sets": [_with_forces(fitted)]}})
    train, test = record["fit"]["forces"], record["test"]["forces"]
    errors = f"forces err by {1e3 * train:.3g} meV/A in training and {1e3 * test:.3g} in test structures"
    if test > _OVERFITTED * train:
        more = 2 * training.frames
        return Advice(
            name, "core", f"{begin}As {errors}, more structures help: {more}.", {"training": {"frames": more}}
        )
    # A few functions cannot suit displaced structures and the one at rest alike; only the latter counts here.
    narrower = max(0.5 * training.displacement, _NARROWEST)
    functions = {"n_radial": config.model.get("n_radial", 8) + 4}
    functions["zetas"] = sorted({*config.model.get("zetas", (1.0, 4.0, 16.0)), 2.0, 8.0})
    text = (
        f"{begin}As {errors}, more of the same structures do not help: "
        f"give the model more functions, and displace atoms by {narrower:g} A."
    )
    return Advice(name, "core", text, {"model": functions, "training": {"displacement": narrower}})


def _lattice(config: StudyConfig, name: str, best: Record, own: Sequence[Record]) -> list[Advice]:
    """Advice where the model has another lattice constant than the reference."""
    same = [r for r in own if r["lattice"] == "own" and r["cells"] == best["cells"]]
    for record in same:
        ratio = record["lattice_ratio"]
        if record["observations"] != best["observations"] or (ratio is not None and abs(ratio - 1) < _STRAIN):
            continue
        off = "there is none near the reference's" if ratio is None else f"it is {100 * (ratio - 1):+.2f} % off"
        text = f"{name}, {letters(best['observations'])}: the model's own lattice constant: {off}."
        return [_observe(config, best, "lattice", text + " ", "virial")]
    return []


def _with_forces(fitted: Sequence[str]) -> list[str]:
    return [name for name in UNITS if name in {"energy", "forces", *fitted}]


def _basin(config: StudyConfig, record: Record) -> Advice:
    """Advice where no model keeps the defect's structure."""
    name = record["defect"]
    text = f"{name}: no model can be compared ({record['reason']}). "
    if config.training.around == "crystal" and not config.defects[name].is_line:
        return Advice(
            name,
            "basin",
            text + _NO_DEFECT,
            {"training": {"around": "defect"}},
        )
    if "forces" not in record["observations"]:
        sets = [_with_forces(record["observations"])]
        return Advice(name, "basin", f"{text}Fit forces too.", {"observations": {"sets": sets}})
    wider = 2 * config.training.displacement
    text += f"Displace atoms of the training cells by more, {wider:g} A, and take more of them."
    return Advice(name, "basin", text, {"training": {"displacement": wider, "frames": 2 * config.training.frames}})
