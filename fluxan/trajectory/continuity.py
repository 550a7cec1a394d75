"""Checks each frame against the one before: same atoms in the same order, increasing steps and times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from fluxan.system import Frame
    from fluxan.trajectory.frame_record import FrameRecord


@dataclass(frozen=True, slots=True)
class Continuity:
    """Data of a frame with which the next one is compared.

    Attributes
    ----------
    frame : Frame
        The frame.
    ids : (n_atoms,) int64 or None
        Identities of the atoms, where the file has them.
    step : int or None
        MD step, where the file has it.
    has_time : bool
        Whether frames carry physical times.
    spacing : float
        Time between the first frames, ps; where times are rounded more coarsely than that, equal ones may follow.
    """

    frame: Frame
    ids: np.ndarray | None
    step: int | None
    has_time: bool
    spacing: float

    def check(self, frame: Frame, record: FrameRecord) -> None:
        """Raise `InputError` if the next frame does not continue this one.

        Parameters
        ----------
        frame, record : Frame, FrameRecord
            The next frame, and the record it was made of.
        """
        before = self.frame
        if frame.n_atoms != before.n_atoms:
            raise InputError(
                f"has {frame.n_atoms} atoms, the frame before had {before.n_atoms}; the number may not change"
            )
        if not np.array_equal(frame.numbers, before.numbers):
            atom = int(np.flatnonzero(frame.numbers != before.numbers)[0])
            raise InputError(
                f"atom {atom} is element number {frame.numbers[atom]}, in the frame before {before.numbers[atom]}; "
                "the order of the atoms may not change"
            )
        if record.ids is not None and self.ids is not None and not np.array_equal(record.ids, self.ids):
            atom = int(np.flatnonzero(record.ids != self.ids)[0])
            raise InputError(f"the atoms' ids changed: {record.ids[atom]} where {self.ids[atom]} was")
        if (frame.velocities is None) != (before.velocities is None):
            raise InputError(
                "has no velocities, the frames before had"
                if before.velocities is not None
                else "has velocities, the frames before had none"
            )
        self._check_growth(frame, record)

    def _check_growth(self, frame: Frame, record: FrameRecord) -> None:
        if record.step is not None and self.step is not None and record.step <= self.step:
            raise InputError(
                f"MD step {record.step} follows {self.step}; steps must grow (are runs joined or repeated?)"
            )
        before = self.frame.time
        # In single precision times near 1e6 ps are multiples of 0.06 ps: frames 0.01 ps apart get equal times.
        too_coarse = frame.time == before and record.time_resolution > 0.9 * self.spacing
        if self.has_time and frame.time <= before and not too_coarse:
            raise InputError(f"time {frame.time:g} ps follows {before:g} ps; time must grow")
