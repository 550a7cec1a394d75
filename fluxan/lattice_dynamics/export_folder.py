"""What the folders written for other programs have in common: when they may be written, and their summary."""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.active.anharmonicity import HarmonicReference
from fluxan.errors import InputError, ModelError, OutputError, TrajectoryError
from fluxan.flux.energies import model_dtype, model_name
from fluxan.potentials.fingerprint import model_sha256
from fluxan.progress import progress_bar
from fluxan.replacement import replacing_folder
from fluxan.series.frame_checks import FrameChecker
from fluxan.trajectory.readahead import read_ahead
from fluxan.trajectory.trajectory_base import naming
from fluxan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxan.lattice_dynamics.ideal_supercell import IdealSupercell
    from fluxan.potentials.base import Potential
    from fluxan.system import Frame
    from fluxan.trajectory import Trajectory

#: Name of the summary, by which a folder is known as one of these.
SUMMARY = "export.json"
#: Largest difference of cell vectors along a trajectory, Å.
_SAME_CELL = 1e-4


@contextmanager
def export_folder(output: str | Path, source: Path | None, *, overwrite: bool) -> Iterator[Path]:
    """Write to a folder that appears as a whole, or not at all.

    Raises
    ------
    OutputError
        The folder exists and may not be replaced, holds the trajectory itself, or cannot be written.
    """
    output = Path(output)
    if source is not None and source.resolve().is_relative_to(output.resolve()):
        raise OutputError(f"{output} holds {source.name}, which is to be exported; give another output")
    with replacing_folder(output, marker=SUMMARY, overwrite=overwrite) as folder:
        yield folder


def write_summary(folder: Path, target: str, model: Potential, facts: dict[str, Any]) -> dict[str, Any]:
    """Write what a folder holds as JSON, and return it."""
    origin = {"target": target, "fluxan_version": __version__, "model_sha256": model_sha256(model)}
    summary = origin | facts
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def second_order_force_constants(supercell: IdealSupercell, model: Potential, *, displacement: float) -> np.ndarray:
    """Force constants of a supercell, (n_atoms, n_atoms, 3, 3) eV/Å², by `HarmonicReference.from_forces`.

    Raises
    ------
    ModelError
        The model is of single precision, whose rounding would be larger than the differences of the forces.
    """
    import torch

    if model_dtype(model) is not torch.float64:
        raise ModelError(
            f"{model_name(model)} is of {str(model_dtype(model)).removeprefix('torch.')}; force constants are small "
            "differences of forces: load it with dtype=float64"
        )
    return HarmonicReference.from_forces(supercell.frame, model, displacement=displacement).force_constants


def first_frame(trajectory: Trajectory) -> Frame:
    """The first frame of a trajectory.

    Raises
    ------
    TrajectoryError
        There is none.
    """
    frame = next(iter(trajectory.frames()), None)
    if frame is None:
        raise TrajectoryError(f"{trajectory.name}: it holds no frame in the requested range")
    return frame


class CheckedRun:
    """The frames of a run, made sure to have velocities, even spacing and the cell of the supercell.

    Parameters
    ----------
    trajectory : Trajectory
        The run, of which a frame has been read before.
    ideal : Frame
        The supercell with the atoms on their sites.
    progress : bool
        Show a progress bar on standard error.

    Attributes
    ----------
    n_frames : int
        Number of frames, once all are read.
    time_step : float or None
        Time between frames, ps, once two are read; None where frames have no times.
    """

    def __init__(self, trajectory: Trajectory, ideal: Frame, *, progress: bool) -> None:
        self.n_frames = 0
        self.time_step: float | None = None
        self._trajectory, self._ideal, self._progress = trajectory, ideal, progress

    def __iter__(self) -> Iterator[Frame]:
        """All frames.

        Raises
        ------
        TrajectoryError
            One of them cannot be used, or there is only one.
        """
        trajectory = self._trajectory
        checker = FrameChecker(time_step=None, warn=_stop_at_gaps)
        with progress_bar(trajectory.name, total=trajectory.n_frames, show=self._progress) as bar:
            for frame in read_ahead(trajectory.frames()):
                with naming(f"{trajectory.name}, frame {self.n_frames}"):
                    self._check(frame)
                    checker.check(frame, frame.temperature)
                yield frame
                self.n_frames += 1
                bar.advance(1)
        if self.n_frames < 2:
            raise TrajectoryError(f"{trajectory.name}: it holds one frame only; modes need a run")
        self.time_step = checker.time_step if trajectory.has_time else None

    def _check(self, frame: Frame) -> None:
        if frame.velocities is None:
            raise InputError("there are no velocities; modes need them: convert the trajectory with its velocities")
        if frame.cell is None or np.abs(np.asarray(frame.cell) - np.asarray(self._ideal.cell)).max() > _SAME_CELL:
            raise InputError("its cell is not that of the first frame; modes need a cell that stays the same")


def _stop_at_gaps(topic: str, message: str) -> None:
    if topic == "spacing":
        raise InputError(f"{message}: select frames with start=, stop= and stride=")
    warnings.warn(message, stacklevel=2)
