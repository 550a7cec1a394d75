"""Invariant points: structures in which symmetry makes the energy of every atom known, E/N.

A sum of atomic energies says little about its terms. Where all atoms are equivalent by symmetry their energies are
equal, and the total energy tells them [1]_. In a compound, where the atoms of each element are equivalent to one
another, it tells the energy of a formula unit.

References
----------
.. [1] D. Yoo, K. Lee, W. Jeong, D. Lee, S. Watanabe, S. Han, Phys. Rev. Materials 3, 093802 (2019).
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from math import gcd
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fluxan.display import composition
from fluxan.errors import InputError
from fluxan.flux.energies import atomic_energies, model_graph, to_numpy
from fluxan.neighbors import build_graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.potentials.base import Potential
    from fluxan.system import Frame
    from fluxan.trajectory.labelled_frame import LabelledFrame

#: Distance by which atoms may be off their places, Å: more than the digits of a file, less than thermal motion.
TOLERANCE = 1e-3
#: Distances at which a structure is called approximately symmetric, Å.
LOOSE = (1e-2, 3e-2, 0.1)
#: Distance up to which two structures are compared, Å.
_COMPARED = 6.0


class Symmetry(NamedTuple):
    """Equivalence of the atoms of a structure.

    Attributes
    ----------
    orbits : int
        Number of sets of equivalent atoms, at the tolerance asked for.
    tolerance : float or None
        Smallest tolerance, Å, at which the atoms of each element are equivalent; None if that is so at none.
    space_group : str
        International symbol, at that tolerance.
    reason : str
        Why the structure is no invariant point; empty if it is one.
    """

    orbits: int
    tolerance: float | None
    space_group: str
    reason: str

    @property
    def is_exact(self) -> bool:
        """Whether the structure is an invariant point."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class InvariantPoint:
    """What a model gives at an invariant point.

    Attributes
    ----------
    name : str
        The structure.
    formula : str
        Formula unit; an element's symbol where all atoms are equivalent.
    n_atoms : int
        Atoms of the formula unit.
    space_group : str
        International symbol.
    reference : float or None
        Energy of the formula unit from the label, eV; None without a label.
    predicted : float or None
        The same from the model's atomic energies, eV; None without a model.
    energies : dict of str to float
        Mean atomic energy of each element, eV; empty without a model.
    spread : float
        Largest difference among atoms of one element, eV; it is zero for a model that keeps the symmetry.
    in_training : bool or None
        Whether the training frames hold this structure; None if they are not known.
    strangers : float or None
        Share of its atoms that are unlike any in training; None if the training frames are not known.
    """

    name: str
    formula: str
    n_atoms: int
    space_group: str
    reference: float | None
    predicted: float | None = None
    energies: dict[str, float] = field(default_factory=dict)
    spread: float = 0.0
    in_training: bool | None = None
    strangers: float | None = None

    @property
    def error(self) -> float | None:
        """Error per atom, eV; None without a label or a model."""
        if self.reference is None or self.predicted is None:
            return None
        return (self.predicted - self.reference) / self.n_atoms


def find_symmetry(frame: Frame, *, tolerance: float = TOLERANCE) -> Symmetry:
    """Find whether the atoms of each element are equivalent by symmetry, and if not, whether they nearly are.

    An open direction counts as periodic with its padded cell, which has the same symmetries.

    Parameters
    ----------
    frame : Frame
        The structure.
    tolerance : float
        Distance by which atoms may be off their places, Å.

    Raises
    ------
    InputError
        The tolerance is not positive.
    """
    if not 0 < tolerance < float("inf"):
        raise InputError(f"the tolerance of symmetry is {tolerance!r} Å; expected a positive number")
    if frame.cell is None:
        return Symmetry(frame.n_atoms, None, "", "it has no cell, and spglib finds symmetries of crystals alone")
    n_elements = len(np.unique(frame.numbers))
    first = 0
    for allowed in (tolerance, *(loose for loose in LOOSE if loose > tolerance)):
        orbits, space_group = _orbits(frame, allowed)
        first = first or orbits
        if orbits == n_elements:
            near = f"it is symmetric within {allowed:g} Å, approximately but not within {tolerance:g} Å"
            return Symmetry(first, allowed, space_group, near if allowed > tolerance else "")
    reason = (
        f"its {frame.n_atoms} atoms are {first} sets of equivalent ones, not one for each of {n_elements} element(s)"
    )
    return Symmetry(first, None, "", reason)


def _is_symmetric(frame: Frame, tolerance: float) -> bool:
    return frame.cell is not None and _orbits(frame, tolerance)[0] == len(np.unique(frame.numbers))


def _orbits(frame: Frame, tolerance: float) -> tuple[int, str]:
    """Number of sets of equivalent atoms, and the space group."""
    # A structure without symmetry is an answer here; spglib's C code would print warnings about it.
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    import spglib

    cell: Any = np.asarray(frame.cell)
    scaled: Any = frame.positions @ np.linalg.inv(cell)
    numbers: Any = frame.numbers
    # Where atoms are closer to one another than the tolerance, old versions return None and new ones raise.
    failure = getattr(spglib, "SpglibError", RuntimeError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_symmetry_dataset((cell, scaled, numbers), symprec=tolerance)
        except failure:
            found = None
    if found is None:
        return frame.n_atoms, ""
    return len(np.unique(found.equivalent_atoms)), str(found.international)


def atomic_energies_of(model: Potential, frame: Frame) -> np.ndarray:
    """Atomic energies of a frame, (n_atoms,) float64 eV."""
    graph = model_graph(model, build_graph(frame, model.cutoff))
    # A message-passing model may build its energies from positions, others from edges.
    graph = graph.replace(r_ij=graph.r_ij.detach().requires_grad_(), positions=graph.positions.requires_grad_())
    return to_numpy(atomic_energies(model, graph, training=True))


def evaluate_point(model: Potential | None, item: LabelledFrame, *, name: str, space_group: str = "") -> InvariantPoint:
    """Compare a model's atomic energies with the label of an invariant point.

    Parameters
    ----------
    model : Potential or None
        The model; without one the reference alone is given.
    item : LabelledFrame
        A structure for which `find_symmetry` gives no reason against it.
    name, space_group : str
        See `InvariantPoint`.
    """
    frame = item.frame
    symbols = composition(frame.numbers)
    units = gcd(*symbols.values())
    point = InvariantPoint(
        name=name,
        formula="".join(f"{s}{n // units if n > units else ''}" for s, n in symbols.items()),
        n_atoms=frame.n_atoms // units,
        space_group=space_group,
        reference=None if item.energy is None else item.energy / units,
    )
    if model is None:
        return point
    values = atomic_energies_of(model, frame)
    of_element = [values[frame.numbers == z] for z in np.unique(frame.numbers)]
    return replace(
        point,
        predicted=float(values.sum()) / units,
        energies=dict(zip(symbols, (float(part.mean()) for part in of_element), strict=True)),
        spread=max(float(np.ptp(part)) for part in of_element),
    )


class KnownStructures:
    """Invariant points among the training frames.

    Parameters
    ----------
    frames : sequence of LabelledFrame
        The training frames.
    tolerance : float
        Distance by which interatomic distances of one structure may differ, Å.
    """

    def __init__(self, frames: Sequence[LabelledFrame], *, tolerance: float = TOLERANCE) -> None:
        self._tolerance = tolerance
        symmetric = [item.frame for item in frames if _is_symmetric(item.frame, tolerance)]
        self._shells = [neighbour_shells(frame) for frame in symmetric]

    def __contains__(self, frame: Frame) -> bool:
        """Whether a symmetric structure is among them, as another cell of the same crystal too."""
        shells = neighbour_shells(frame)
        return any(_same(shells, known, self._tolerance) for known in self._shells)


def neighbour_shells(frame: Frame) -> dict[tuple[int, int], np.ndarray]:
    """Ascending distances of the first atom of each element to its neighbours of each element, Å.

    Equivalent structures have the same, whatever their cells.
    """
    graph = build_graph(frame, _COMPARED)
    receivers, senders = graph.receivers.numpy(), graph.senders.numpy()
    distances = graph.r_ij.norm(dim=1).numpy()
    shells = {}
    for z in np.unique(frame.numbers):
        own = receivers == int(np.flatnonzero(frame.numbers == z)[0])
        for other in np.unique(frame.numbers):
            shells[int(z), int(other)] = np.sort(distances[own & (frame.numbers[senders] == other)])
    return shells


def _same(one: dict[tuple[int, int], np.ndarray], other: dict[tuple[int, int], np.ndarray], tolerance: float) -> bool:
    if one.keys() != other.keys():
        return False
    for pair, distances in one.items():
        # A shell at the cutoff may be inside for one of them alone: the distances that both have decide.
        n = min(len(distances), len(other[pair]))
        longest = max((part[n] for part in (distances, other[pair]) if len(part) > n), default=_COMPARED)
        if (
            longest < _COMPARED - 2 * tolerance
            or np.abs(distances[:n] - other[pair][:n]).max(initial=0) > 2 * tolerance
        ):
            return False
    return True
