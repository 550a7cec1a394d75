"""Steps of an optimizer over the batches of an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fluxan.training.averaging import AveragedParameters
from fluxan.training.loss import mean_squares, total_loss
from fluxan.training.prediction import predict
from fluxan.training.term_errors import TermMeans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fluxan.potentials.base import Potential
    from fluxan.training.batches import Batch
    from fluxan.training.fit_settings import FitSettings
    from fluxan.training.loss import LossWeights

#: Iterations of L-BFGS per epoch, and pairs of steps and gradients that it keeps.
_ITERATIONS, _HISTORY = 20, 50


class OptimizerSteps:
    """An optimizer of torch, with the moving average of the parameters.

    Parameters
    ----------
    model : Potential
        Is changed in place.
    weights : LossWeights
        Weights of the terms; without a weight the flux is not evaluated.
    settings : FitSettings
        Of the optimizer.
    check : callable
        Called with every loss before its step is taken; raises if it is not finite.

    Attributes
    ----------
    averages : AveragedParameters
        Moving average of the parameters; of L-BFGS, which goes downhill without noise, the last ones.
    """

    def __init__(
        self, model: Potential, weights: LossWeights, settings: FitSettings, *, check: Callable[[float], object]
    ) -> None:
        self._model, self._settings, self._check = model, settings, check
        self._weights = weights if weights.flux else weights.without_flux()
        parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimizer: torch.optim.Optimizer
        if settings.optimizer == "adam":
            self._optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate)
        else:
            self._optimizer = torch.optim.LBFGS(
                parameters, max_iter=_ITERATIONS, history_size=_HISTORY, line_search_fn="strong_wolfe"
            )
        self.averages = AveragedParameters(parameters, settings.average if settings.optimizer == "adam" else 0.0)

    def run(self, batches: Sequence[Batch], epoch: int) -> TermMeans:
        """Run one epoch.

        Parameters
        ----------
        batches : sequence of Batch
            Adam takes a step on each, in an order that seed and epoch decide; L-BFGS takes steps on all together.
        epoch : int
            Counted from 0.

        Returns
        -------
        TermMeans
            Mean squares of the terms as each batch was met.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.rate(epoch)
        if self._settings.optimizer == "lbfgs":
            return self._lbfgs(batches)
        means = TermMeans()
        for k in np.random.default_rng([self._settings.seed, epoch]).permutation(len(batches)):
            batch = batches[k]
            self._optimizer.zero_grad()
            terms, loss = self._loss(batch)
            loss.backward()
            self._check(float(loss.detach()))
            if self._settings.clip is not None:
                torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._settings.clip)
            self._optimizer.step()
            self.averages.update()
            means.add(terms, batch)
        return means

    def state(self) -> dict[str, Any]:
        """State of optimizer and averages."""
        return {"optimizer": self._optimizer.state_dict(), "averages": self.averages.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self._optimizer.load_state_dict(state["optimizer"])
        self.averages.load_state(state["averages"])

    def _loss(self, batch: Batch) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        terms = mean_squares(predict(self._model, batch, flux=bool(self._weights.flux)), batch, self._weights)
        return terms, total_loss(terms, self._weights)

    def _lbfgs(self, batches: Sequence[Batch]) -> TermMeans:
        """One call of L-BFGS, which evaluates the loss over all batches in every iteration."""
        n_frames = sum(batch.n_frames for batch in batches)
        first: list[TermMeans] = []

        def closure() -> torch.Tensor:
            self._optimizer.zero_grad()
            means, losses = TermMeans(), []
            for batch in batches:
                terms, loss = self._loss(batch)
                share = loss * batch.n_frames / n_frames
                share.backward()
                losses.append(share.detach())
                means.add(terms, batch)
            first.append(means)
            return torch.stack(losses).sum()

        self._check(float(self._optimizer.step(closure)))  # type: ignore[arg-type]
        self.averages.update()
        return first[0]
