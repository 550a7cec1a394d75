"""The structures of one training cell: about a defect or in the perfect crystal, displaced and strained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError
from fluxan.generalization.observations import (
    Observations,
    displaced_crystals,
    labelled_by,
    observe,
    strained_crystals,
)
from fluxan.generalization.relaxation import forget
from fluxan.plain_files import read_json, write_json
from fluxan.system import Frame
from fluxan.trajectory.labelled_frame import LabelledFrame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ase import Atoms
    from ase.calculators.calculator import Calculator

    from fluxan.generalization.study_config import TrainingCells
    from fluxan.potentials.linear_potential import LinearPotential


class TrainingPatches:
    """Structures that a reference labels.

    Parameters
    ----------
    center : ase.Atoms
        A periodic cell at rest, with a defect or without.
    crystal : ase.Atoms
        The perfect crystal in a cell of the same size.
    unit : ase.Atoms
        The crystal's own cell, which is strained for virials.
    reference : ase.calculators.calculator.Calculator
        Labels them.
    settings : TrainingCells
        Numbers of structures, and displacements.
    labels : Path
        Folder that keeps the labels of displaced structures.

    Attributes
    ----------
    structures : dict of str to int
        Structures that the reference was evaluated for, by observation; those for energies give forces too.
    """

    def __init__(
        self,
        center: Atoms,
        crystal: Atoms,
        unit: Atoms,
        reference: Calculator,
        settings: TrainingCells,
        *,
        labels: Path,
    ) -> None:
        self.labels = labels
        self.center, self.crystal, self.unit = center, crystal, unit
        self.reference, self.settings = reference, settings
        self.structures: dict[str, int] = {}

    def observe(self, model: LinearPotential, needed: set[str]) -> tuple[Observations, Observations]:
        """Rows for a model's descriptors, of the structures to train on and to test with.

        Force constants and virials that are not needed are observed where the reference gives them, so that their
        errors are known.

        Raises
        ------
        InputError
            The reference does not give what is needed.
        """
        displaced = self._if_possible("force_constants", needed)
        strained = self._if_possible("virial", needed)
        n_train = self.settings.frames
        train = observe(model, self._labelled(0, n_train, perfect=True), displaced=displaced, strained=strained)
        test = observe(model, self._labelled(n_train, n_train + self.settings.test_frames, perfect=False))
        self.structures = {"energy": n_train + 1}
        if displaced:
            self.structures["force_constants"] = 2 * len(displaced)
        if strained:
            self.structures["virial"] = len(strained)
        return train, test

    def _if_possible(self, name: str, needed: set[str]) -> list[Any]:
        try:
            if name == "virial":
                return strained_crystals(self.unit, self.reference)
            return displaced_crystals(self.crystal, self.reference)
        except InputError:
            if name in needed:
                raise
            return []

    def _labelled(self, start: int, stop: int, *, perfect: bool) -> Iterator[LabelledFrame]:
        """The cell at rest, displaced ones, and the perfect crystal, one at a time."""
        for number in range(start, stop):
            moved = self.center.copy()
            moved.set_constraint()
            if number:
                random = np.random.default_rng([self.settings.seed, number])
                moved.positions += random.normal(scale=self.settings.displacement, size=moved.positions.shape)
            yield self._kept(moved, f"displaced-{number}")
        if perfect:
            yield self._kept(self.crystal, "perfect")

    def _kept(self, atoms: Atoms, name: str) -> LabelledFrame:
        """A labelled structure, from its file if that is there: the reference may be dear."""
        path = self.labels / f"{name}.json"
        if not path.exists():
            forget(self.reference)
            label = labelled_by(atoms, self.reference, name)
            write_json(path, {"energy": label.energy, "forces": np.asarray(label.forces).tolist()})
        kept = read_json(path)
        frame = Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers, pbc=tuple(atoms.pbc))
        return LabelledFrame(frame, kept["energy"], np.array(kept["forces"]), None, None, name)
