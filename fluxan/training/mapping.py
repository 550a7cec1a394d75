"""The check of an atomic-energy mapping: whether a model has learned the energies of atoms, or sums of them alone.

Many functions of an atom's surroundings have the same sums over the structures of a training set. One that is right for
the sums alone, an ad hoc mapping [1]_, fails in structures that mix the same atoms in other proportions, and carries
wrong energies in a heat flux. Two questions are asked:

- before training, which offsets of atomic energies the set leaves open (`fluxan.training.undetermined_offsets`);
- after it, how wrong atomic energies are where symmetry tells them (`fluxan.training.invariant_points`).

References
----------
.. [1] D. Yoo, K. Lee, W. Jeong, D. Lee, S. Watanabe, S. Han, Phys. Rev. Materials 3, 093802 (2019).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError
from fluxan.training.environment_classes import ClusterSettings, EnvironmentClasses
from fluxan.training.invariant_points import (
    TOLERANCE,
    InvariantPoint,
    KnownStructures,
    atomic_energies_of,
    evaluate_point,
    find_symmetry,
)
from fluxan.training.undetermined_offsets import TOLERANCE as OFFSET_TOLERANCE
from fluxan.training.undetermined_offsets import Candidate, OffsetSpace, find_offset_space

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fluxan.potentials.base import Potential
    from fluxan.trajectory.labelled_frame import LabelledFrame


#: Ratio of errors at invariant points and of training energies above which the mapping is called ad hoc.
MUCH_LARGER = 3.0


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """Tolerances of the check.

    Attributes
    ----------
    symmetry : float
        Distance by which atoms of an invariant point may be off their places, Å.
    offsets : float
        Offsets that change energies per atom by less, eV per eV, are undetermined.
    limit : float
        Error at an invariant point that is called wrong, eV per atom.
    clusters : ClusterSettings
        How classes of atomic environments are told apart.
    """

    symmetry: float = TOLERANCE
    offsets: float = OFFSET_TOLERANCE
    limit: float = 0.01
    clusters: ClusterSettings = field(default_factory=ClusterSettings)

    def __post_init__(self) -> None:
        """Check the limit; the tolerances are checked where they are used."""
        if not 0 < self.limit < float("inf"):
            raise InputError(f"the limit of errors is {self.limit!r} eV/atom; expected a positive number")


@dataclass(frozen=True, slots=True, eq=False)
class MappingReport:
    """Outcome of the check.

    Attributes
    ----------
    points : tuple of InvariantPoint
        Structures whose atomic energies symmetry tells.
    others : dict of str to str
        By name of the other structures, why they are no invariant points.
    offsets : OffsetSpace or None
        What the training set determines; None where it is not known.
    candidates : tuple of Candidate
        Candidates in the order in which to add them.
    training_error : float or None
        RMSE of the model's energies on the training set, eV per atom; None where it is not known.
    limit : float
        Error per atom that is called wrong, eV.
    """

    points: tuple[InvariantPoint, ...]
    others: dict[str, str]
    offsets: OffsetSpace | None
    candidates: tuple[Candidate, ...]
    training_error: float | None
    limit: float

    @property
    def counted(self) -> tuple[InvariantPoint, ...]:
        """Invariant points whose error counts: with a label and a prediction, and not known to be trained on."""
        return tuple(point for point in self.points if point.error is not None and not point.in_training)

    @property
    def largest_error(self) -> float | None:
        """Largest error per atom among these, eV, with its sign; None where none counts."""
        return max((point.error or 0.0 for point in self.counted), key=abs, default=None)

    @property
    def is_ad_hoc(self) -> bool | None:
        """Whether atomic energies are wrong where the sums are right; None where no invariant point counts.

        Wrong are errors above the limit and above `MUCH_LARGER` times those of training energies, where they are known.
        """
        if self.largest_error is None:
            return None
        return abs(self.largest_error) > max(self.limit, MUCH_LARGER * (self.training_error or 0.0))

    @property
    def verdict(self) -> str:
        """The outcome in words, a sentence a line."""
        return "\n".join([*self._about_model(), *self._about_training()])

    def _about_model(self) -> list[str]:
        if all(point.predicted is None for point in self.points) and self.points:
            return [
                f"{_number(len(self.points), 'structure is an invariant point', 'structures are invariant points')}."
            ]
        worst = self.largest_error
        if worst is None:
            why = "all are in the training set or have no energy" if self.points else "no structure is one"
            return [f"Not tested: no invariant point counts ({why})."]
        where = f"{_number(len(self.counted), 'invariant point', 'invariant points')}"
        fit = "" if self.training_error is None else f" Training energies are right to {_milli(self.training_error)}."
        if abs(worst) <= self.limit:
            return [f"Atomic energies are right at {where}: the largest error is {_milli(abs(worst))}.{fit}"]
        if not self.is_ad_hoc:
            return [f"Atomic energies are wrong by up to {_milli(abs(worst))} at {where}, but so are sums.{fit}"]
        far = [point for point in self.counted if point.strangers and abs(point.error or 0.0) > self.limit]
        lines = [f"Ad hoc mapping: atomic energies are wrong by up to {_milli(abs(worst))} at {where}.{fit}"]
        if far:
            names = "the wrong ones hold" if len(far) == self._n_wrong else f"{len(far)} of the wrong ones hold"
            lines.append(f"But {names} atoms unlike any in training: there the model extrapolates.")
        return lines

    @property
    def _n_wrong(self) -> int:
        return sum(abs(point.error or 0.0) > self.limit for point in self.counted)

    def _about_training(self) -> list[str]:
        if self.offsets is None:
            return []
        space, n = self.offsets, len(self.offsets.names)
        open_ones = space.undetermined
        if not open_ones:
            return [f"Total energies of the training set determine the offsets of all {n} classes of atoms."]
        count = _number(len(open_ones), "combination of offsets", "combinations of offsets")
        lines = [f"Total energies of the training set leave {count} undetermined (eV per atom):"]
        for one in open_ones:
            remark = "; an offset per element, which another stoichiometry or a pure element fixes"
            lines.append(f"  {one}{remark if one.by_element and len(set(space.elements)) > 1 else ''}")
        useful = [c for c in self.candidates if c.score > space.tolerance and not c.is_strange]
        if useful:
            lines.append(f"Of the candidates, {useful[0].name} fixes most.")
        elif self.candidates:
            lines.append("No candidate fixes any of them.")
        return lines


def atomic_energy_mapping(
    model: Potential | None,
    structures: Mapping[str, LabelledFrame],
    training: Sequence[LabelledFrame] | None = None,
    candidates: Mapping[str, LabelledFrame] | None = None,
    *,
    settings: MappingSettings | None = None,
) -> MappingReport:
    """Check whether a model's atomic energies are right, and whether its training set could tell them.

    Parameters
    ----------
    model : Potential or None
        The model; None before training.
    structures : mapping of str to LabelledFrame
        Structures by name; those that are invariant points, with energies, are compared.
    training : sequence of LabelledFrame, optional
        Training frames. Without them nothing is said of what they leave undetermined, and no invariant point can be
        recognised as trained on.
    candidates : mapping of str to LabelledFrame, optional
        Structures that could be added to the training set, by name; they need no energies.
    settings : MappingSettings, optional
        Tolerances.

    Raises
    ------
    InputError
        There is nothing to compare, a structure has an element that the training set lacks, or a tolerance is not
        usable.
    ModelError
        The model does not know an element.
    """
    settings = settings or MappingSettings()
    if candidates and not training:
        raise InputError("candidates are ranked by what the training set leaves undetermined: give the training set")
    classes = EnvironmentClasses([item.frame for item in training], settings.clusters) if training else None
    points, others = _examine(model, structures, training, settings)
    error = None
    if model is not None and training:
        error = _training_error(model, training)
    if classes is None or training is None:
        return MappingReport(points, others, None, (), None, settings.limit)
    n = classes.n_classes
    counts = np.array([classes.counts(item.frame) for item in training])
    space = find_offset_space(classes.names[:n], classes.elements[:n], counts[:, :n], tolerance=settings.offsets)
    ranked: list[Candidate] = []
    if candidates:
        ranked = space.rank(list(candidates), np.array([classes.counts(item.frame) for item in candidates.values()]))
    points = tuple(replace(p, strangers=_share_unlike(classes, structures[p.name])) for p in points)
    return MappingReport(points, others, space, tuple(ranked), error, settings.limit)


def _examine(
    model: Potential | None,
    structures: Mapping[str, LabelledFrame],
    training: Sequence[LabelledFrame] | None,
    settings: MappingSettings,
) -> tuple[tuple[InvariantPoint, ...], dict[str, str]]:
    """Invariant points among the structures, and why the others are none."""
    known = None if training is None else KnownStructures(training, tolerance=settings.symmetry)
    points, others = [], {}
    for name, item in structures.items():
        symmetry = find_symmetry(item.frame, tolerance=settings.symmetry)
        if not symmetry.is_exact:
            others[name] = symmetry.reason
            continue
        point = evaluate_point(model, item, name=name, space_group=symmetry.space_group)
        points.append(point if known is None else replace(point, in_training=item.frame in known))
    return tuple(points), others


def _training_error(model: Potential, training: Sequence[LabelledFrame]) -> float | None:
    errors = [
        (atomic_energies_of(model, item.frame).sum() - item.energy) / item.frame.n_atoms
        for item in training
        if item.energy is not None
    ]
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else None


def _share_unlike(classes: EnvironmentClasses, item: LabelledFrame) -> float:
    """Share of the atoms of a structure that are unlike any in training."""
    return float(classes.counts(item.frame)[classes.n_classes :].sum() / item.frame.n_atoms)


def _milli(value: float) -> str:
    return f"{1e3 * value:.3g} meV/atom"


def _number(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"
