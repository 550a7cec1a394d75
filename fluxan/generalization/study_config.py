"""The TOML file of a study of defects, checked before any work begins.

[reference]
model = "shipped:si"                   # or calculator = "my_dft:calculator", module:function of an ASE calculator

[crystal]
structure = "silicon.xyz"              # one cell of the perfect crystal at the reference's lattice constant

[defects.vacancy]                      # one table each, with a name of your own
kind = "vacancy"                       # or interstitial, substitution, dislocation
inward = 0.5                           # Å; the other keys are those of `DefectSettings`

[model]                                # a linear model, as in `fluxan train`
cutoff = 4.0

[training]
cells = [2, 3, 4, 5, 6]                # repeats of the crystal's cell: L is half the side
frames = 30
displacement = 0.05                    # Å

[observations]
sets = [["energy", "forces"], ["energy", "forces", "force_constants"]]
weights = { energy = 100.0 }

[evaluation]
cell = 12
lattices = ["reference", "own"]

[output]
folder = "silicon-defects"
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.geometry.minkowski_reduction import minkowski_reduce

from fluxan.errors import FluxanError, InputError
from fluxan.generalization.defect_settings import DefectSettings
from fluxan.generalization.observations import UNITS
from fluxan.potentials.parameters import check_keys, read_toml
from fluxan.training.setting_tables import (
    read_paths,
    read_record,
    read_table,
    read_text,
    require_count,
    require_positive,
)
from fluxan.trajectory.structure import open_structure

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Characters of a defect's name, which is that of a folder too.
_NAME = frozenset(string.ascii_letters + string.digits + "-_")
SECTIONS = ("reference", "crystal", "defects", "model", "training", "observations", "evaluation", "output")
#: What training cells hold: the relaxed defect, or the perfect crystal.
SURROUNDINGS = ("defect", "crystal")
#: Lattice constants of the cell in which the model is evaluated.
LATTICES = ("reference", "own")
#: Weights of the square errors of one structure: energies in eV, forces in eV/Å, force constants in eV/Å² summed over
#: the rows of one displaced atom, virials in eV.
WEIGHTS = {"energy": 100.0, "forces": 1.0, "force_constants": 1.0, "virial": 10.0}


@dataclass(frozen=True, slots=True)
class TrainingCells:
    """Section ``[training]``.

    Attributes
    ----------
    cells : tuple of int
        Repeats of the crystal's cell.
    around : {"defect", "crystal"}
        What the cells hold.
    frames, test_frames : int
        Structures per cell: the relaxed one and displaced ones to train on, and displaced ones to test with. One cell
        of the perfect crystal at rest is added to the former.
    displacement : float
        Standard deviation of the components of random displacements, Å.
    seed : int
        Of the displacements.
    """

    cells: tuple[int, ...]
    around: str = "defect"
    frames: int = 30
    test_frames: int = 10
    displacement: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every setting."""
        if not isinstance(self.cells, list | tuple) or not self.cells:
            raise InputError(f"training.cells is {self.cells!r}; expected a list of repeats of the crystal's cell")
        for cell in self.cells:
            require_count(cell, "training.cells", 1)
        object.__setattr__(self, "cells", tuple(sorted(set(self.cells))))
        for name, least in (("frames", 1), ("test_frames", 1), ("seed", 0)):
            require_count(getattr(self, name), f"training.{name}", least)
        require_positive(self.displacement, "training.displacement")
        _require_choice(self.around, "training.around", SURROUNDINGS)


@dataclass(frozen=True, slots=True)
class ObservationSets:
    """Section ``[observations]``.

    Attributes
    ----------
    sets : tuple of tuple of str
        Observations that are fitted together, each set by a model of its own.
    weights : dict of str to float
        Weights of the observations, in place of `WEIGHTS`.
    """

    sets: tuple[tuple[str, ...], ...] = (("energy", "forces"), ("energy", "forces", "force_constants"))
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every setting."""
        if not isinstance(self.sets, list | tuple) or not self.sets:
            raise InputError(f"observations.sets is {self.sets!r}; expected a list of lists of observations")
        for one in self.sets:
            if not isinstance(one, list | tuple) or not one:
                raise InputError(f"observations.sets holds {one!r}; expected a list of observations")
            for name in one:
                _require_choice(name, "observations.sets", tuple(UNITS))
        object.__setattr__(self, "sets", tuple(dict.fromkeys(tuple(n for n in UNITS if n in one) for one in self.sets)))
        read_table(self.weights, "observations.weights")
        for name, weight in self.weights.items():
            _require_choice(name, "observations.weights", tuple(UNITS))
            require_positive(weight, f"observations.weights.{name}")
        object.__setattr__(self, "weights", WEIGHTS | dict(self.weights))

    @property
    def observed(self) -> set[str]:
        """Observations of any set."""
        return {name for one in self.sets for name in one}


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """Section ``[evaluation]``.

    Attributes
    ----------
    cell : int
        Repeats of the crystal's cell in which defects are compared; of no meaning for dislocations.
    tolerance : float
        Largest force that relaxations leave, eV/Å.
    lattices : tuple of str
        The model is evaluated in the cell of the reference's lattice constant, of its own, or both.
    chemical_potentials : dict of str to float
        By element, eV, for formation energies where a defect changes the number of atoms of a compound.
    """

    cell: int = 0
    tolerance: float = 1e-4
    lattices: tuple[str, ...] = ("reference",)
    chemical_potentials: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every setting."""
        require_count(self.cell, "evaluation.cell", 0)
        require_positive(self.tolerance, "evaluation.tolerance")
        if not isinstance(self.lattices, list | tuple) or not self.lattices:
            raise InputError(f"evaluation.lattices is {self.lattices!r}; expected a list")
        for name in self.lattices:
            _require_choice(name, "evaluation.lattices", LATTICES)
        object.__setattr__(self, "lattices", tuple(dict.fromkeys(self.lattices)))
        for element, value in read_table(self.chemical_potentials, "evaluation.chemical_potentials").items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise InputError(f"evaluation.chemical_potentials.{element} is {value!r}; expected a number of eV")


@dataclass(frozen=True, slots=True)
class StudyConfig:
    """Content of a file of a study.

    Attributes
    ----------
    reference : dict
        Section ``[reference]``, from which the caller makes a calculator.
    crystal : ase.Atoms
        One cell of the perfect crystal.
    defects : dict of str to DefectSettings
        By name.
    model : dict
        Settings of the descriptors.
    training : TrainingCells
        The training structures.
    observations : ObservationSets
        What is fitted.
    evaluation : EvaluationSettings
        How models are compared with the reference.
    folder : Path
        Holds everything.
    source : Path
        The file.
    """

    reference: dict[str, Any]
    crystal: Atoms
    defects: dict[str, DefectSettings]
    model: dict[str, Any]
    training: TrainingCells
    observations: ObservationSets
    evaluation: EvaluationSettings
    folder: Path
    source: Path


def read_study_config(path: str | Path) -> StudyConfig:
    """Read a file of a study.

    Parameters
    ----------
    path : str or Path
        The TOML file; relative paths in it begin where it lies.

    Raises
    ------
    FileError
        It or the structure is missing, or not readable.
    InputError
        It is not TOML, or one of its keys is not known or not usable; the message names file and key.
    """
    path = Path(path)
    table = read_toml(path)
    try:
        return _config(table, path.absolute())
    except FluxanError as error:
        raise InputError(f"{path}: {error}") from None


def half_width(crystal: Atoms, n_cells: int) -> float:
    """L of a training cell, Å: half the distance of a defect from its nearest image."""
    reduced, _ = minkowski_reduce(np.array(crystal.cell))
    return float(0.5 * n_cells * np.linalg.norm(reduced, axis=1).min())


def _config(table: Mapping[str, Any], path: Path) -> StudyConfig:
    check_keys(table, SECTIONS, "")
    sections = {name: read_table(table.get(name, {}), name) for name in SECTIONS}
    for name in ("reference", "crystal", "defects", "model", "training"):
        if not sections[name]:
            raise InputError(f"the section [{name}] is missing")
    for name in ("crystal", "output"):
        check_keys(sections[name], ("structure",) if name == "crystal" else ("folder",), f"{name}.")
    model = dict(sections["model"])
    if model.pop("kind", "linear") != "linear":
        raise InputError("model.kind must be linear: observations are fitted by least squares")
    reference = {**sections["reference"], "folder": str(path.parent)}
    if (path.parent / str(reference.get("model") or "-")).is_file():
        reference["model"] = str(path.parent / reference["model"])
    structure = read_paths(sections["crystal"].get("structure"), path.parent, "crystal.structure")[0]
    config = StudyConfig(
        reference=reference,
        crystal=_crystal(structure),
        defects={
            name: read_record(DefectSettings, value, f"defects.{name}") for name, value in sections["defects"].items()
        },
        model=model,
        training=read_record(TrainingCells, sections["training"], "training"),
        observations=read_record(ObservationSets, sections["observations"], "observations"),
        evaluation=read_record(EvaluationSettings, sections["evaluation"], "evaluation"),
        folder=path.parent / read_text(sections["output"].get("folder", f"{path.stem}-defects"), "output.folder"),
        source=path,
    )
    _require_room(config)
    return config


def _crystal(path: Path) -> Atoms:
    frame = next(iter(open_structure(path)))
    if (frame.numbers == 0).any():
        raise InputError(f"{path}: some atoms are of unknown element; name them in the file")
    if not all(frame.pbc):
        raise InputError(f"{path}: the crystal must be periodic in all directions")
    return Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True)


def _require_room(config: StudyConfig) -> None:
    """Every defect can be built, is not its own neighbour, and is compared in a cell that is at least 4 L wide."""
    smallest, largest = config.training.cells[0], config.training.cells[-1]
    side, cutoff = 2 * half_width(config.crystal, smallest), _cutoff(config.model)
    if side < cutoff:
        raise InputError(
            f"training.cells has {smallest}, a cell {side:.2f} A wide: with model.cutoff = {cutoff:g} A a defect would "
            "see its own image; give larger cells"
        )
    if any(not one.is_line for one in config.defects.values()) and config.evaluation.cell < 2 * largest:
        raise InputError(
            f"evaluation.cell is {config.evaluation.cell}, too small for training.cells up to {largest}: the side has "
            f"to be 4 L or more, L being half the side of a training cell; give {2 * largest} or more"
        )
    for name, defect in config.defects.items():
        if not name or not set(name) <= _NAME:
            raise InputError(f"defects.{name}: a name has letters, digits, '-' and '_' alone")
        try:
            defect.require_suits(config.crystal, cutoff)
            built = defect.build(config.crystal, smallest)
            built.formation_energy(0.0, 0.0, config.evaluation.chemical_potentials)
        except InputError as error:
            raise InputError(f"defects.{name}: {error}") from None


def _cutoff(model: Mapping[str, Any]) -> float:
    cutoff = model.get("cutoff")
    if cutoff is None:
        raise InputError("model.cutoff (Å) is missing")
    require_positive(cutoff, "model.cutoff")
    return float(cutoff)


def _require_choice(value: object, where: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{where}: {value!r} is not known; expected one of {', '.join(known)}")
