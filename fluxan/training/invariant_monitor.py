"""Error at invariant points after every epoch of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fluxan.errors import InputError
from fluxan.flux.energies import model_graph
from fluxan.neighbors import build_graph
from fluxan.training.batches import disjoint_graph
from fluxan.training.invariant_points import TOLERANCE, find_symmetry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxan.potentials.base import Potential
    from fluxan.system import Graph
    from fluxan.trajectory.labelled_frame import LabelledFrame

#: Columns of the history.
RMSE, BIAS = "invariant points RMSE (eV/atom)", "invariant points mean error (eV/atom)"


class InvariantMonitor:
    """Monitor of a `TrainingRun`: errors per atom at invariant points, which are not trained on.

    Parameters
    ----------
    structures : mapping of str to LabelledFrame
        Invariant points with energies, by name.
    tolerance : float
        Of symmetry, Å.

    Raises
    ------
    InputError
        There is none, or one is no invariant point or has no energy; the message says which.
    """

    def __init__(self, structures: Mapping[str, LabelledFrame], *, tolerance: float = TOLERANCE) -> None:
        if not structures:
            raise InputError("there are no invariant points to monitor")
        for name, item in structures.items():
            reason = find_symmetry(item.frame, tolerance=tolerance).reason
            if item.energy is None or reason:
                raise InputError(f"{name} is no invariant point: {reason or 'it has no energy'}")
        self.structures = tuple(structures.values())
        self._counts = torch.tensor([item.frame.n_atoms for item in self.structures])
        self._energies = torch.tensor([item.energy for item in self.structures], dtype=torch.float64)
        self._graphs: dict[float, Graph] = {}

    def __call__(self, model: Potential) -> dict[str, float]:
        """Root mean square and mean of the errors per atom, eV."""
        if model.cutoff not in self._graphs:
            graphs = [build_graph(item.frame, model.cutoff) for item in self.structures]
            self._graphs[model.cutoff] = disjoint_graph(graphs)
        with torch.no_grad():
            values = model(model_graph(model, self._graphs[model.cutoff])).detach().cpu().double()
        frames = torch.arange(len(self._counts)).repeat_interleave(self._counts)
        errors = (torch.zeros_like(self._energies).index_add(0, frames, values) - self._energies) / self._counts
        return {RMSE: float(errors.square().mean().sqrt()), BIAS: float(errors.mean())}
