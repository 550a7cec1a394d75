"""Exponential moving average of a model's parameters."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class AveragedParameters:
    """``p̄ ← k p̄ + (1 − k) p`` after each step.

    Parameters
    ----------
    parameters : sequence of Parameter
        They are read, and replaced by their averages inside `applied`.
    keep : float
        k, the weight of the past. The first steps, n < 1/(1 − k), are averaged evenly, so that the initial values do
        not stay in the average.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], keep: float) -> None:
        self._parameters, self._keep, self._n_steps = parameters, keep, 0
        self._averages = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take the parameters of a step into the average."""
        keep = min(self._keep, self._n_steps / (self._n_steps + 1))
        self._n_steps += 1
        for average, parameter in zip(self._averages, self._parameters, strict=True):
            average.lerp_(parameter, 1 - keep)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averages inside the context."""
        own = [p.detach().clone() for p in self._parameters]
        self._assign(self._averages)
        try:
            yield
        finally:
            self._assign(own)

    def state(self) -> dict[str, Any]:
        """Averages and number of steps."""
        return {"averages": self._averages, "n_steps": self._n_steps}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a state."""
        self._averages, self._n_steps = list(state["averages"]), state["n_steps"]

    @torch.no_grad()
    def _assign(self, values: Sequence[torch.Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
