"""Labels frames with a reference: any ASE calculator, in processes of their own.

Every answer is on disk before the next frame is sent out, failures and time-outs too, so that nothing is evaluated
twice and nothing is lost. A worker that hangs or dies is replaced; the frame it had counts as failed.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fluxan.active.label_workers import LabelWorkers
from fluxan.errors import InputError
from fluxan.plain_files import read_json, write_json
from fluxan.trajectory.labelled_frame import LabelledFrame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fluxan.active.reference_settings import ReferenceSettings
    from fluxan.system import Frame

#: Failures of so many frames, and of no less than all, are no chance.
_MANY = 4
#: Displacement of an atom by which energy and forces are compared, Å.
_STEP = 0.02
#: Ratios of an energy's slope to the forces that tell of other units.
_FACTORS = {27.2114: "energies in Hartree", 0.529177: "forces per bohr", 23.0605: "eV beside kcal/mol"}


class Labeller:
    """Evaluates a reference in processes of its own, which are started at the first frame and kept until the end.

    Parameters
    ----------
    settings : ReferenceSettings
        The reference.
    """

    def __init__(self, settings: ReferenceSettings) -> None:
        self._settings = settings
        self._pool: LabelWorkers | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def label(self, frames: Sequence[Frame], folder: Path) -> list[dict[str, Any]]:
        """Answers of the reference for frames, in their order.

        Parameters
        ----------
        frames : sequence of Frame
            What to label.
        folder : Path
            Holds one file per answer; frames that have one there are not evaluated again.

        Returns
        -------
        list of dict
            With ``energy``, ``forces`` and perhaps ``stress``, or with ``failure``, the reason in words.

        Raises
        ------
        InputError
            The reference cannot be made, or it has failed for every frame of more than a few.
        OutputError
            An answer cannot be written.
        """
        numbers = range(len(frames))
        answers = {n: read_json(_path(folder, n)) for n in numbers if _path(folder, n).exists()}
        left = [n for n in numbers if n not in answers]
        if left:
            self._pool = self._pool or LabelWorkers(self._settings)
            for number, answer in self._pool.answers(frames, left):
                answers[number] = checked(answer, frames[number])
                write_json(_path(folder, number), answers[number])
        found = [answers[n] for n in numbers]
        if len(found) >= _MANY and all("failure" in answer for answer in found):
            raise InputError(f"the reference failed for all {len(found)} frames; the first: {found[0]['failure']}")
        return found


def labelled(frame: Frame, answer: dict[str, Any], trajectory: str) -> LabelledFrame:
    """A frame with the labels of an answer."""
    virial = None
    if "stress" in answer and frame.volume is not None:
        virial = -frame.volume * np.array(answer["stress"])
    return LabelledFrame(frame, answer["energy"], np.array(answer["forces"]), virial, None, trajectory)


def checked(answer: dict[str, Any], frame: Frame) -> dict[str, Any]:
    """An answer, or its failure where it is not usable: a number is not finite, or forces have a wrong shape."""
    if "failure" in answer:
        return answer
    forces = np.asarray(answer["forces"])
    if forces.shape != (frame.n_atoms, 3):
        return {"failure": f"the forces have shape {forces.shape}, expected {(frame.n_atoms, 3)}"}
    for name, value in answer.items():
        if not np.isfinite(value).all():
            return {"failure": f"{name} of the reference: not finite"}
    return answer


def require_consistent(frame: Frame, labeller: Labeller, folder: Path) -> None:
    """Raise `InputError` if forces differ from the slopes of the energy as other units would have it.

    The energy between two frames, displaced to either side along the forces, is compared with the work of the forces
    there and in the middle (Simpson's rule). The displacement is that of thermal motion, so that steps of the energy
    of truncated potentials do not count.

    Raises
    ------
    InputError
        The ratio is that of other units, which the message names. Other differences above 20 % are warned of.
    """
    (middle,) = labeller.label([frame], folder / "middle")
    if "failure" in middle:
        return
    forces = np.array(middle["forces"])
    norm = float(np.linalg.norm(forces))
    if norm < 1e-3 * frame.n_atoms**0.5:
        return  # at rest, as an ideal crystal is: there is nothing to compare
    step = _STEP * frame.n_atoms**0.5 * forces / norm
    sides = [frame.replace(positions=frame.positions + sign * step) for sign in (-1, 1)]
    before, after = labeller.label(sides, folder / "sides")
    if "failure" in before or "failure" in after:
        return
    weighted = np.array(before["forces"]) + 4 * forces + np.array(after["forces"])
    ratio = (before["energy"] - after["energy"]) / float((weighted / 3 * step).sum())
    for factor, units in _FACTORS.items():
        if min(abs(ratio * factor - 1), abs(ratio / factor - 1)) < 0.1:
            raise InputError(
                f"the slope of the reference's energy is {ratio:.4g} times its forces, as with {units}; "
                "it must give eV and eV/Å, as ASE calculators do"
            )
    if abs(ratio - 1) > 0.2:
        warnings.warn(
            f"the slope of the reference's energy is {ratio:.4g} times its forces: one of them is wrong, "
            "or the energy is not smooth, as that of a truncated potential",
            stacklevel=2,
        )


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.json"
