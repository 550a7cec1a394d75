"""Sign and order of the stress in a file, detected from its own energies.

Programs differ: ASE's stress is positive under tension, ``xx yy zz yz xz xy``; VASP and LAMMPS print a pressure,
positive under compression, ``xx yy zz xy yz zx`` and ``xx yy zz xy xz yz``. A fit to a wrong sign or order raises no
error. Two kinds of evidence tell:

1. pairs of frames that differ by a homogeneous strain alone: ``ΔU = −½ (Ξ₁ : ε₁ + Ξ₂ : ε₂)`` to third order in the
   strain, with ``Ξ = −V · stress``, ε₁ and ε₂ being the strain seen from either frame;
2. the virials of a linear model that was fitted to energies and forces alone.

A convention counts as detected if its misfit is small and that of every other one, which would give other virials,
is at least three times larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fluxan.trajectory.labelled_files import ReadFrame
    from fluxan.trajectory.labelled_frame import LabelledFrame

#: Places of xx, yy, zz, yz, xz, xy in six numbers of each order.
ORDERS = {
    "xx yy zz yz xz xy": (0, 1, 2, 3, 4, 5),
    "xx yy zz xy yz zx": (0, 1, 2, 4, 5, 3),
    "xx yy zz xy xz yz": (0, 1, 2, 5, 4, 3),
}
#: Conventions that can be stated, as the sign of the numbers in the virial and their order.
STATED = {
    "ase": (-1, "xx yy zz yz xz xy"),
    "vasp": (1, "xx yy zz xy yz zx"),
    "lammps": (1, "xx yy zz xy xz yz"),
}
#: Largest relative misfit of a convention that is believed, and smallest ratio of another's misfit to it.
_MAX_MISFIT, _MIN_RATIO = 0.3, 3.0
#: Part of the evidence where every order gives the same virials.
ANY_ORDER = "; any order of the shear is the same"
#: Frames are strained copies of each other if their fractional coordinates agree to this.
_SAME_SITES = 1e-6
#: Conventions whose virials differ by less, relatively, are one.
_SAME_VIRIALS = 0.01


@dataclass(frozen=True, slots=True)
class Convention:
    """How the numbers of a file's stress become a virial.

    Attributes
    ----------
    sign : {-1, 1}
        Of the numbers in the virial; −1 for a stress that is positive under tension.
    order : str
        A key of `ORDERS`, for six numbers.
    evidence : str
        What showed it, for reports.
    """

    sign: int
    order: str
    evidence: str = ""

    def virial(self, numbers: np.ndarray) -> np.ndarray:
        """Virial, (3, 3) eV, from 6 or 9 numbers in eV."""
        if numbers.size == 9:
            return self.sign * numbers.reshape(3, 3)
        xx, yy, zz, yz, xz, xy = numbers[list(ORDERS[self.order])]
        return self.sign * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])

    def __str__(self) -> str:
        """One line for reports."""
        sense = "tension" if self.sign < 0 else "compression"
        return f"stress positive under {sense}, {self.order}" + (f" ({self.evidence})" if self.evidence else "")


def with_virials(
    frames: Sequence[ReadFrame],
    *,
    stated: str | None = None,
    predicted: Callable[[], np.ndarray] | None = None,
) -> tuple[list[LabelledFrame], Convention | None]:
    """Labelled frames with virials in fluxan's convention.

    Parameters
    ----------
    frames : sequence of ReadFrame
        The frames as they were read.
    stated : str, optional
        A key of `STATED`: the convention that the user says the file has.
    predicted : callable, optional
        Gives virials of all frames from their energies and forces, (n_frames, 3, 3) eV; called where no frames differ
        by a strain.

    Returns
    -------
    labelled : list of LabelledFrame
        The frames.
    convention : Convention or None
        None where no frame has a stress.

    Raises
    ------
    InputError
        The convention cannot be detected and is not stated, what is stated contradicts the energies, or the numbers fit
        in no convention, as with a wrong unit.
    """
    if stated is not None and stated not in STATED:
        raise InputError(f"stress convention {stated!r} is not known; expected one of {', '.join(STATED)}")
    if not any(item.stress is not None for item in frames):
        return [item.labelled for item in frames], None
    convention = _detect(frames, stated, predicted)
    labelled = [
        item.labelled if item.stress is None else item.labelled.replace(virial=convention.virial(item.stress))
        for item in frames
    ]
    return labelled, convention


def _detect(frames: Sequence[ReadFrame], stated: str | None, predicted: Callable[[], np.ndarray] | None) -> Convention:
    candidates = [Convention(sign, order) for sign in (-1, 1) for order in ORDERS]
    claim = Convention(*STATED[stated], "as stated") if stated else None
    pairs = strained_pairs(frames)
    if pairs:
        misfits, scale = _strain_misfits(frames, pairs, candidates)
        evidence = f"ΔU of {len(pairs)} strained pair(s), misfit {min(misfits):.1%}"
        found = _select(frames, candidates, misfits, evidence)
        _refuse_unit(frames, misfits, scale)
        if claim is not None:
            _refuse_claim(claim, candidates, misfits, evidence)
        if found is not None or claim is not None:
            return _agreed(found, claim)
    if predicted is not None:
        found = _model_convention(frames, predicted(), check_unit=claim is None)
        if found is not None or claim is not None:
            return _agreed(found, claim)
    if claim is not None:
        return claim
    raise InputError(
        f"{frames[0].where}: the sign and order of the stress cannot be told from its energies; add two frames that "
        f"differ by a small strain, or state the convention: {', '.join(STATED)}"
    )


def _agreed(found: Convention | None, claim: Convention | None) -> Convention:
    """What was detected, which must not contradict what is stated."""
    if claim is None or found is None:
        return found or claim  # type: ignore[return-value]
    other_order = found.order != claim.order and ANY_ORDER not in found.evidence
    if found.sign != claim.sign or other_order:
        raise InputError(f"the stress is stated as: {claim}; its energies say: {found}")
    return claim


def strained_pairs(frames: Sequence[ReadFrame]) -> list[tuple[int, int]]:
    """Pairs of frames with stresses, by index, whose atoms lie at the same fractional coordinates of other cells."""
    groups: dict[bytes, list[int]] = {}
    sites = {}
    for k, item in enumerate(frames):
        frame = item.labelled.frame
        if item.stress is None or item.labelled.energy is None or frame.cell is None:
            continue
        sites[k] = frame.positions @ np.linalg.inv(frame.cell)
        groups.setdefault(frame.numbers.tobytes(), []).append(k)
    pairs = []
    for members in groups.values():
        for first, second in pairwise(members):
            shift = sites[first] - sites[second]
            cells = [frames[k].labelled.frame.cell for k in (first, second)]
            same = np.abs(shift - np.rint(shift)).max() < _SAME_SITES
            if same and not np.allclose(cells[0], cells[1], rtol=1e-8, atol=0):  # type: ignore[arg-type]
                pairs.append((first, second))
    return pairs


def _strain_misfits(
    frames: Sequence[ReadFrame], pairs: Sequence[tuple[int, int]], candidates: Sequence[Convention]
) -> tuple[list[float], float]:
    """Relative misfit of ΔU for each convention, and the factor by which the best convention's work is off."""
    changes = np.array([_energy(frames[b]) - _energy(frames[a]) for a, b in pairs])
    works = np.array([[_work(frames[a], frames[b], convention) for a, b in pairs] for convention in candidates])
    return _misfits(works, changes)


def _work(first: ReadFrame, second: ReadFrame, convention: Convention) -> float:
    """``−½ (Ξ₁ : Δ + Ξ₂ : D⁻¹Δ)`` with ``cell₂ = cell₁ D`` and ``Δ = D − 1``: the trapezoidal rule for ∫dU."""
    cells = [np.asarray(item.labelled.frame.cell) for item in (first, second)]
    deform = np.linalg.solve(cells[0], cells[1])
    change = deform - np.eye(3)
    virials = [convention.virial(np.asarray(item.stress)) for item in (first, second)]
    return float(-0.5 * ((virials[0] * change).sum() + (virials[1] * np.linalg.solve(deform, change)).sum()))


def _model_convention(frames: Sequence[ReadFrame], virials: np.ndarray, *, check_unit: bool) -> Convention | None:
    """Sign that the diagonals of a model's virials show, and order that the rest shows; None where they do not."""
    chosen = [k for k, item in enumerate(frames) if item.stress is not None]
    numbers, diagonal = [np.asarray(frames[k].stress) for k in chosen], np.eye(3, dtype=bool)
    orders = list(ORDERS)

    def read(sign: int, order: str, mask: np.ndarray) -> np.ndarray:
        return np.array([Convention(sign, order).virial(x)[mask] for x in numbers]).ravel()

    misfits, scale = _misfits(
        [read(sign, orders[0], diagonal) for sign in (-1, 1)], virials[chosen][:, diagonal].ravel()
    )
    if check_unit:
        _refuse_unit(frames, misfits, scale)
    sign, misfit = (-1, misfits[0]) if misfits[0] < misfits[1] else (1, misfits[1])
    if misfit > _MAX_MISFIT or max(misfits) < _MIN_RATIO * misfit:
        return None
    evidence = f"virials of a linear model fitted to energies and forces, misfit {misfit:.1%}"
    if all(x.size == 9 for x in numbers):
        return Convention(sign, orders[0], evidence + ANY_ORDER)
    shears = [read(sign, order, ~diagonal) for order in orders]
    shear_misfits, _ = _misfits(shears, virials[chosen][:, ~diagonal].ravel())
    best, second = np.argsort(shear_misfits)[:2]
    if shear_misfits[second] < _MIN_RATIO * shear_misfits[best]:
        return None
    return Convention(sign, orders[best], evidence)


def _misfits(trials: Sequence[np.ndarray] | np.ndarray, truth: np.ndarray) -> tuple[list[float], float]:
    norm = max(float(np.linalg.norm(truth)), np.finfo(float).tiny)
    misfits = [float(np.linalg.norm(trial - truth)) / norm for trial in trials]
    # The factor that would make the numbers right: some convention fits with it unless they are noise.
    slopes = [float(trial @ truth) / max(float(truth @ truth), np.finfo(float).tiny) for trial in trials]
    return misfits, max(slopes)


def _select(
    frames: Sequence[ReadFrame], candidates: Sequence[Convention], misfits: Sequence[float], evidence: str
) -> Convention | None:
    """The convention that the evidence shows, or None if several would give different virials."""
    best = int(np.argmin(misfits))
    if misfits[best] > _MAX_MISFIT:
        return None
    left = [c for c, misfit in zip(candidates, misfits, strict=True) if misfit < _MIN_RATIO * misfits[best]]
    chosen = [np.asarray(item.stress) for item in frames if item.stress is not None]
    virials = [np.array([c.virial(numbers) for numbers in chosen]) for c in left]
    spread = max(float(np.linalg.norm(v - virials[0])) for v in virials)
    if spread > _SAME_VIRIALS * float(np.linalg.norm(virials[0])):
        return None
    note = "" if len(left) == 1 else ANY_ORDER
    return Convention(left[0].sign, left[0].order, evidence + note)


def _refuse_claim(claim: Convention, candidates: Sequence[Convention], misfits: Sequence[float], evidence: str) -> None:
    """Refuse a stated convention that does not fit where another one does, also where several others do."""
    own = next(m for c, m in zip(candidates, misfits, strict=True) if (c.sign, c.order) == (claim.sign, claim.order))
    best = int(np.argmin(misfits))
    if own > _MAX_MISFIT and own >= _MIN_RATIO * misfits[best]:
        likely = Convention(candidates[best].sign, candidates[best].order, evidence)
        raise InputError(f"the stress is stated as: {claim}; its energies say: {likely}")


def _refuse_unit(frames: Sequence[ReadFrame], misfits: Sequence[float], scale: float) -> None:
    """Refuse numbers that fit no convention, but would if they were multiplied by some factor."""
    if min(misfits) > _MAX_MISFIT and not 0.7 < scale < 1.4:
        raise InputError(
            f"{frames[0].where}: the numbers of the stress are {scale:.3g} times what its energies say in any sign and "
            "order; is their unit right?"
        )


def _energy(item: ReadFrame) -> float:
    energy = item.labelled.energy
    if energy is None:
        raise InputError(f"{item.where}: there is no energy")
    return energy
