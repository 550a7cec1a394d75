"""A study of defects: models fitted to observation sets on training cells of growing size, against the reference.

Every step is a JSON file in the folder of the study before the next begins, and is read instead of done again, so that
a study that is interrupted goes on where it was and comes to the same numbers.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar

from fluxan.errors import InputError, OutputError
from fluxan.generalization.defect_errors import RelaxedDefect, errors_between, relax_defect, scaled
from fluxan.generalization.error_decomposition import error_parts
from fluxan.generalization.observations import Observations, labelled_by
from fluxan.generalization.relaxation import Relaxed, forget
from fluxan.generalization.study_config import half_width
from fluxan.generalization.study_table import letters
from fluxan.generalization.training_patches import TrainingPatches
from fluxan.plain_files import read_json, write_json
from fluxan.potentials.parameters import read_toml
from fluxan.replacement import replacing
from fluxan.training.training_job import linear_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from fluxan.generalization.defects import Defect
    from fluxan.generalization.error_decomposition import ErrorParts
    from fluxan.generalization.study_config import StudyConfig
    from fluxan.potentials.linear_potential import LinearPotential

#: Lattice constants of models are looked for within this share of the reference's.
_REACH = 0.06


def run_study(
    config: StudyConfig,
    reference: Calculator,
    calculator_of: Callable[[LinearPotential], Calculator],
    *,
    resume: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Run a study, or what is left of it.

    Parameters
    ----------
    config : StudyConfig
        Settings.
    reference : ase.calculators.calculator.Calculator
        Gives energies, forces and, for virials, stresses.
    calculator_of : callable
        Makes a calculator of a model.
    resume : bool
        Go on in a folder that a study was begun in.
    say : callable, optional
        Called with a line on what is being done.

    Returns
    -------
    list of dict
        One record for each defect, training cell, observation set and lattice constant; docs/defects.md has the keys.

    Raises
    ------
    OutputError
        The folder holds a study already and `resume` is not given, or a file cannot be written.
    InputError
        A setting is not usable, the reference does not give an observation, or its relaxation of a defect fails.
    """
    still = largest_force(config.crystal, reference)
    if still > config.evaluation.tolerance:
        raise InputError(
            f"the reference exerts forces of {still:.2g} eV/A on the perfect crystal; relax its atoms first"
        )
    _begin(config, resume=resume)
    records = []
    for name, settings in config.defects.items():
        study = _DefectRuns(config, name, reference, calculator_of, say)
        cells = config.training.cells
        for n_cells in cells:
            for observations in config.observations.sets:
                records += study.records(n_cells, observations)
        say(f"{name}: {len(cells)} training cells, {len(config.observations.sets)} sets ({settings.kind})")
    return records


class _DefectRuns:
    """All runs of one defect."""

    def __init__(
        self,
        config: StudyConfig,
        name: str,
        reference: Calculator,
        calculator_of: Callable[[LinearPotential], Calculator],
        say: Callable[[str], None],
    ) -> None:
        self.config, self.name, self.settings = config, name, config.defects[name]
        self.reference, self.calculator_of, self.say = reference, calculator_of, say
        self.folder = config.folder / name
        self.defect = self.settings.build(config.crystal, config.evaluation.cell)
        self._relaxed: RelaxedDefect | None = None

    @property
    def relaxed(self) -> RelaxedDefect:
        """The defect in the cell of the comparison, relaxed with the reference."""
        if self._relaxed is None:
            self._relaxed = self.by_reference(self.defect, self.folder / "reference.json")
        return self._relaxed

    def by_reference(self, defect: Defect, path: Path) -> RelaxedDefect:
        """A defect relaxed with the reference, from its file if that is there."""
        if not path.exists():
            self.say(f"{self.name}: the reference relaxes {len(defect.atoms)} atoms")
            forget(self.reference)
            found = relax_defect(defect, self.reference, tolerance=self.config.evaluation.tolerance)
            if found.relaxed.reason:
                raise InputError(f"{self.name}: the reference, {len(defect.atoms)} atoms: {found.relaxed.reason}")
            write_json(path, described(found))
        return restored(defect, read_json(path))

    def records(self, n_cells: int, observations: tuple[str, ...]) -> list[dict[str, Any]]:
        """Records of one model, by lattice constant."""
        place = self.folder / f"cells-{n_cells}"
        named = letters(observations).replace(" ", "-")
        paths = [(lattice, place / f"{named}-{lattice}.json") for lattice in self.config.evaluation.lattices]
        if all(path.exists() for _, path in paths):
            return [read_json(path) for _, path in paths]
        fitted = _FittedModel(self, n_cells, observations)
        fitted.model.save(place / f"{named}.safetensors")
        for lattice, path in paths:
            if not path.exists():
                self.say(f"{self.name}, L = {fitted.length:.1f} A, {named}, lattice constant: {lattice}")
                write_json(path, fitted.record(lattice))
        return [read_json(path) for _, path in paths]


class _FittedModel:
    """A model fitted to one set of observations on one size of training cells."""

    def __init__(self, runs: _DefectRuns, n_cells: int, observations: tuple[str, ...]) -> None:
        self.runs, self.n_cells, self.observations = runs, n_cells, observations
        config = runs.config
        elements = sorted(set(runs.defect.atoms.numbers.tolist()) | set(runs.defect.perfect.numbers.tolist()))
        self.model = linear_model(config.model, elements)
        self.length = half_width(config.crystal, n_cells)
        self.cell = runs.settings.build(config.crystal, n_cells) if not runs.settings.is_line else None
        path = runs.folder / f"cells-{n_cells}" / "observations.json"
        if not path.exists():
            write_json(path, self._observed())
        found = read_json(path)
        self.train, self.test = (
            Observations({name: np.array(root) for name, root in part["roots"].items()}, part["counts"])
            for part in (found["train"], found["test"])
        )
        self.structures: dict[str, int] = found["structures"]
        self.atoms: int = found["atoms"]
        missing = [name for name in observations if name not in self.train.roots]
        if missing:
            raise InputError(f"{path} has no {missing[0]}; remove it to have it made again")
        self.train.fit(self.model, self._weights())

    def _observed(self) -> dict[str, Any]:
        """Rows of all observations, reduced to triangles, as JSON can hold them."""
        runs, config = self.runs, self.runs.config
        crystal = config.crystal.repeat(self.n_cells)
        center = crystal
        if self.cell is not None and config.training.around == "defect":
            path = runs.folder / f"cells-{self.n_cells}" / "reference.json"
            center = runs.by_reference(self.cell, path).relaxed.atoms
        runs.say(f"{runs.name}, L = {self.length:.1f} A: the reference labels cells of {len(center)} atoms")
        forget(runs.reference)
        labels = runs.folder / f"cells-{self.n_cells}" / "labels"
        patches = TrainingPatches(center, crystal, config.crystal, runs.reference, config.training, labels=labels)
        train, test = patches.observe(self.model, config.observations.observed)
        parts = {
            name: {"roots": {k: v.tolist() for k, v in one.roots.items()}, "counts": one.counts}
            for name, one in (("train", train), ("test", test))
        }
        return {**parts, "structures": patches.structures, "atoms": len(center)}

    def _weights(self) -> dict[str, float]:
        """Weights of the mean squares, such that errors of one structure count as the settings say."""
        atoms, cell = self.atoms, len(self.runs.config.crystal)
        rows = {"energy": atoms**2, "forces": 3 * atoms, "force_constants": 3 * atoms, "virial": 9 * cell**2}
        return {name: self.runs.config.observations.weights[name] * rows[name] for name in self.observations}

    def record(self, lattice: str) -> dict[str, Any]:
        """Errors of the model in the cell of one lattice constant."""
        runs, evaluation = self.runs, self.runs.config.evaluation
        calculator = runs.calculator_of(self.model)
        needed = {"energy", "forces", *self.observations}
        record: dict[str, Any] = {
            "defect": runs.name,
            "line": runs.settings.is_line,
            "cells": self.n_cells,
            "L": self.length,
            "atoms": self.atoms,
            "observations": list(self.observations),
            "structures": sum(n for name, n in self.structures.items() if name in needed),
            "lattice": lattice,
            "fit": self.train.errors(self.model),
            "test": self.test.errors(self.model),
            "geometry": None,
            "reference_norm": None,
            "energy": None,
            "energy_at_reference": None,
            "parts": None,
        }
        scale = 1.0 if lattice == "reference" else own_lattice(runs.config.crystal, calculator)
        record["lattice_ratio"] = scale
        if scale is None:
            record["reason"] = "model: it has no lattice constant within 6 % of the reference's"
            return record
        still = largest_force(scaled(runs.config.crystal, scale), calculator)
        if still > evaluation.tolerance:
            # Its crystal has another basis, from which displacements would have to be counted.
            record["reason"] = f"model: it exerts forces of {still:.2g} eV/A on the atoms of the perfect crystal"
            return record
        defect, start = runs.defect, runs.relaxed
        moved = relax_defect(defect, calculator, tolerance=evaluation.tolerance, scale=scale, start=start.relaxed)
        errors = errors_between(defect, start, moved, evaluation.chemical_potentials)
        record["reason"], record["reference_norm"] = errors.reason, errors.reference_norm
        if errors.reason:
            return record
        record["geometry"], record["energy"] = errors.geometry, errors.energy
        if lattice == "reference":
            still = start.relaxed.atoms.copy()
            still.calc = calculator
            there = defect.formation_energy(
                float(still.get_potential_energy()), moved.perfect_energy, evaluation.chemical_potentials
            )
            record["energy_at_reference"] = there - errors.formation_energies[0]
            # The displacements of a dislocation jump at its glide plane: nothing can be expanded in them.
            parts = None if runs.settings.is_line else self._parts(calculator)
            record["parts"] = None if parts is None else parts._asdict()
        return record

    def _parts(self, calculator: Calculator) -> ErrorParts | None:
        """What the geometry error is made of."""
        runs, tolerance = self.runs, self.runs.config.evaluation.tolerance
        return error_parts(
            runs.defect, runs.relaxed, runs.reference, calculator, length=self.length, tolerance=tolerance
        )


def own_lattice(crystal: Atoms, calculator: Calculator) -> float | None:
    """Lattice constant of lowest energy over the crystal's, all directions stretched alike; None if there is none near.

    Parameters
    ----------
    crystal : ase.Atoms
        One cell at the reference's lattice constant.
    calculator : ase.calculators.calculator.Calculator
        Of the model.
    """

    def energy(scale: float) -> float:
        stretched = scaled(crystal, scale)
        stretched.calc = calculator
        return float(stretched.get_potential_energy())

    found = minimize_scalar(energy, bounds=(1 - _REACH, 1 + _REACH), method="bounded", options={"xatol": 1e-7})
    return float(found.x) if abs(found.x - 1) < 0.95 * _REACH else None


def largest_force(atoms: Atoms, calculator: Calculator) -> float:
    """Largest force on an atom, eV/Å."""
    forces = labelled_by(atoms, calculator, "perfect crystal").forces
    return float(np.sqrt((np.asarray(forces) ** 2).sum(axis=1).max()))


def described(found: RelaxedDefect) -> dict[str, Any]:
    """A relaxed defect as JSON can hold it."""
    relaxed = found.relaxed
    return {
        "positions": relaxed.atoms.positions.tolist(),
        "energy": relaxed.energy,
        "largest_force": relaxed.largest_force,
        "steps": relaxed.steps,
        "reason": relaxed.reason,
        "perfect_energy": found.perfect_energy,
    }


def restored(defect: Defect, values: dict[str, Any]) -> RelaxedDefect:
    """A relaxed defect from its file."""
    atoms = defect.atoms.copy()
    atoms.set_positions(values["positions"], apply_constraint=False)
    relaxed = Relaxed(atoms, **{k: v for k, v in values.items() if k not in {"positions", "perfect_energy"}})
    return RelaxedDefect(relaxed, values["perfect_energy"])


def _begin(config: StudyConfig, *, resume: bool) -> None:
    """Make the folder, or see that it belongs to these settings and to what they name."""
    copy, inputs = config.folder / "config.toml", config.folder / "inputs.json"
    if copy.exists() and inputs.exists():
        if not resume:
            raise OutputError(f"{config.folder} holds a study already; give --resume to go on, or another folder")
        before, now = read_toml(copy), read_toml(config.source)
        changed = [f"[{name}]" for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        found = _inputs(config)
        changed += [name for name, value in read_json(inputs).items() if value != found[name]]
        if changed:
            raise InputError(f"{config.folder} was begun with another {changed[0]}; begin anew in another folder")
        return
    write_json(inputs, _inputs(config))
    with replacing(copy, parents=True) as unfinished:
        unfinished.write_text(config.source.read_text(encoding="utf-8"), encoding="utf-8")


def _inputs(config: StudyConfig) -> dict[str, Any]:
    """What files that the settings name hold: the crystal, and the reference if it is one file."""
    crystal, model = config.crystal, Path(str(config.reference.get("model") or ""))
    return {
        "crystal": [crystal.numbers.tolist(), crystal.positions.tolist(), np.array(crystal.cell).tolist()],
        "reference model": hashlib.sha256(model.read_bytes()).hexdigest() if model.is_file() else "",
    }
