"""Root mean square errors of the loss terms over many batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxan.training.loss import mean_squares
from fluxan.training.prediction import predict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

    from fluxan.potentials.base import Potential
    from fluxan.training.batches import Batch
    from fluxan.training.loss import LossWeights


class TermMeans:
    """Means of the terms over batches, each batch weighted by the items that its mean is over."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, terms: Mapping[str, torch.Tensor], batch: Batch) -> None:
        """Add the mean squares of a batch."""
        for name, value in terms.items():
            count = term_count(name, batch)
            self._sums[name] = self._sums.get(name, 0.0) + count * float(value.detach())
            self._counts[name] = self._counts.get(name, 0) + count

    @property
    def mean_squares(self) -> dict[str, float]:
        """Mean square of each term."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    @property
    def errors(self) -> dict[str, float]:
        """Root mean square of each term."""
        return {name: value**0.5 for name, value in self.mean_squares.items()}


def term_count(name: str, batch: Batch) -> int:
    """Number of items over which the mean square of a term is taken in a batch: frames, or atoms for forces."""
    if name == "flux":
        return batch.n_frames
    has = batch.has[name]
    return int(has[batch.frame_of_atom].sum()) if name == "forces" else int(has.sum())


def term_errors(model: Potential, batches: Iterable[Batch], weights: LossWeights) -> TermMeans:
    """Errors of a model on batches, which stay as they are.

    Parameters
    ----------
    model : Potential
        The model.
    batches : iterable of Batch
        In the model's dtype.
    weights : LossWeights
        Says whether the flux is evaluated.
    """
    means = TermMeans()
    for batch in batches:
        prediction = predict(model, batch, flux=weights.term is not None, training=False)
        means.add(mean_squares(prediction, batch, weights), batch)
    return means


def weighted_loss(mean_square: Mapping[str, float], weights: LossWeights) -> float:
    """Half the weighted sum of mean squares."""
    return 0.5 * sum(getattr(weights, name) * value for name, value in mean_square.items())
