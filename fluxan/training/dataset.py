"""`TrainingSet`: labelled frames with their graphs, split by trajectory and joined to batches."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.errors import InputError
from fluxan.neighbors import build_graph
from fluxan.training.batches import collate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.system import Graph
    from fluxan.training.batches import Batch
    from fluxan.trajectory.labelled_frame import LabelledFrame


class TrainingSet:
    """Labelled frames in memory.

    Parameters
    ----------
    frames : sequence of LabelledFrame
        At least two.

    Attributes
    ----------
    frames : tuple of LabelledFrame
        The frames.
    elements : tuple of int
        Atomic numbers that occur, ascending.

    Raises
    ------
    InputError
        There are fewer than two frames, or an atom is of unknown element.
    """

    def __init__(self, frames: Sequence[LabelledFrame]) -> None:
        self.frames = tuple(frames)
        if len(self.frames) < 2:
            raise InputError(
                f"the training set has {len(self.frames)} frame(s); a fit needs two or more, to hold some back"
            )
        self.elements = tuple(sorted({int(z) for item in self.frames for z in np.unique(item.frame.numbers)}))
        if 0 in self.elements:
            raise InputError("some atoms of the training set are of unknown element; name the elements in the file")
        self._graphs: dict[float, list[Graph]] = {}

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.frames)

    @property
    def composition(self) -> np.ndarray:
        """Number of atoms of each element in each frame, (n_frames, n_elements) float64."""
        numbers = [item.frame.numbers for item in self.frames]
        return np.array([[np.count_nonzero(n == z) for z in self.elements] for n in numbers], dtype=np.float64)

    @property
    def sha256(self) -> str:
        """Hash of all atoms, cells and labels, hexadecimal digits."""
        digest = hashlib.sha256()
        for item in self.frames:
            frame = item.frame
            parts = (frame.numbers, frame.positions, frame.cell, frame.velocities)
            for part in (*parts, item.energy, item.forces, item.virial, item.flux):
                digest.update(b"none" if part is None else np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def require(self, labels: Sequence[str]) -> None:
        """Raise `InputError` unless every frame has the labels; a virial is asked for in periodic cells alone."""
        for label in labels:
            missing = [k for k, item in enumerate(self.frames) if _lacks(item, label)]
            if missing:
                few = ", ".join(map(str, missing[:3])) + (" …" if len(missing) > 3 else "")
                raise InputError(
                    f"{len(missing)} of {len(self)} frames have no {label} (frames {few}, counted from 0); "
                    f"set the weight of that term to 0, or leave these frames out"
                )

    def subset(self, indices: Sequence[int]) -> TrainingSet:
        """Some of the frames, with the graphs that have been built."""
        part = TrainingSet([self.frames[k] for k in indices])
        part._graphs = {cutoff: [graphs[k] for k in indices] for cutoff, graphs in self._graphs.items()}
        return part

    def graphs(self, cutoff: float) -> list[Graph]:
        """Graphs of all frames, built once for each cutoff, Å."""
        if cutoff not in self._graphs:
            self._graphs[cutoff] = [build_graph(item.frame, cutoff) for item in self.frames]
        return self._graphs[cutoff]

    def split(self, fraction: float, *, seed: int = 0) -> tuple[list[int], list[int]]:
        """Indices of frames to train on and of frames to validate with.

        Neighbouring frames resemble one another, so that frames drawn at random would not show how a model does on new
        ones. Whole trajectories are held back; where there are too few for that, the last frames of each.

        Parameters
        ----------
        fraction : float
            Share of frames that are held back, between 0 and 1; at least one frame is.
        seed : int
            Of the order in which trajectories are chosen.

        Raises
        ------
        InputError
            The fraction is not between 0 and 1.
        """
        if not 0 < fraction < 1:
            raise InputError(f"the share of frames held back is {fraction!r}; expected a number between 0 and 1")
        wanted = max(1.0, fraction * len(self))
        members: dict[str, list[int]] = {}
        for k, item in enumerate(self.frames):
            members.setdefault(item.trajectory, []).append(k)
        held: list[int] = []
        for name in np.random.default_rng(seed).permutation(sorted(members)):
            if len(held) + len(members[name]) <= 1.5 * wanted and len(held) < wanted:
                held += members[name]
        if len(held) < 0.5 * wanted:
            counts = {name: max(1, round(fraction * len(indices))) for name, indices in members.items()}
            held = [k for name, indices in members.items() if len(indices) > 1 for k in indices[-counts[name] :]]
        chosen = set(held or [len(self) - 1])
        return [k for k in range(len(self)) if k not in chosen], sorted(chosen)

    def batches(
        self,
        cutoff: float,
        size: int,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
        elements: Sequence[int] | None = None,
        consecutive: bool = False,
    ) -> list[Batch]:
        """Join the frames to batches, whose composition is drawn once.

        Parameters
        ----------
        cutoff : float
            Å.
        size : int
            Frames per batch; the last batch may have fewer.
        seed : int
            Of the draw.
        dtype : torch.dtype
            Of the real tensors.
        elements : sequence of int, optional
            Elements that the species of a batch are indices of, such as a model's; by default those of the frames.
        consecutive : bool
            Batches are runs of consecutive frames of one trajectory, as a flux term over a band of frequencies needs;
            what is left of a trajectory after the last whole batch is left out.

        Raises
        ------
        InputError
            No trajectory is as long as a batch.
        """
        if consecutive:
            groups = self.runs(size)
        else:
            order = np.random.default_rng(seed).permutation(len(self)).tolist()
            groups = [sorted(order[k : k + size]) for k in range(0, len(order), size)]
        graphs, known = self.graphs(cutoff), self.elements if elements is None else elements
        return [collate([self.frames[k] for k in group], [graphs[k] for k in group], known, dtype) for group in groups]

    def runs(self, size: int) -> list[list[int]]:
        """Indices of runs of `size` consecutive frames of one trajectory; what is left after the last is left out."""
        runs: list[list[int]] = []
        current: list[int] = []
        for k, item in enumerate(self.frames):
            if current and item.trajectory != self.frames[current[-1]].trajectory:
                current = []
            current.append(k)
            if len(current) == size:
                runs.append(current)
                current = []
        if not runs:
            raise InputError(f"no trajectory has {size} consecutive frames; make the batches shorter")
        return runs


def _lacks(item: LabelledFrame, label: str) -> bool:
    if label == "velocities":
        return item.frame.velocities is None
    if label == "virial" and item.frame.volume is None:
        return False
    return getattr(item, label) is None
