"""Settings of a fit."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from fluxan.errors import InputError

OPTIMIZERS = ("adam", "lbfgs")
SCHEDULES = ("cosine", "exponential", "constant")


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How a model is fitted.

    Attributes
    ----------
    epochs : int
        Passes through the training frames, at most.
    batch_size : int
        Frames per step of Adam; L-BFGS takes all frames in each step.
    optimizer : {"adam", "lbfgs"}
        Adam for networks of any size, L-BFGS for small ones.
    learning_rate : float
        Of the first epoch; 1 is usual for L-BFGS.
    schedule : {"cosine", "exponential", "constant"}
        How the learning rate goes from its first to its last value.
    final_rate : float
        Last learning rate over the first.
    average : float
        Weight of the past in the exponential moving average of the parameters, per step, which is what is validated and
        saved; 0 averages nothing.
    patience : int
        Epochs without a smaller validation loss after which the fit stops.
    clip : float or None
        Largest norm of a gradient; longer ones are shortened.
    seed : int
        Of the order of batches. The model has its own.
    """

    epochs: int = 200
    batch_size: int = 8
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    final_rate: float = 0.01
    average: float = 0.99
    patience: int = 50
    clip: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("epochs", "batch_size", "patience"):
            if not _is_number(getattr(self, name), whole=True) or getattr(self, name) < 1:
                raise InputError(f"fit.{name} is {getattr(self, name)!r}; expected a whole number, 1 or more")
        if not _is_number(self.seed, whole=True) or self.seed < 0:
            raise InputError(f"fit.seed is {self.seed!r}; expected a whole number, zero or more")
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise InputError(f"fit.{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        for name in ("learning_rate", "final_rate", *(() if self.clip is None else ("clip",))):
            if not _is_number(getattr(self, name)) or not 0 < getattr(self, name) < math.inf:
                raise InputError(f"fit.{name} is {getattr(self, name)!r}; expected a positive number")
        if not _is_number(self.average) or not 0 <= self.average < 1:
            raise InputError(f"fit.average is {self.average!r}; expected a number from 0 to 1, 1 excluded")

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0."""
        progress = epoch / max(self.epochs - 1, 1)
        if self.schedule == "constant":
            return self.learning_rate
        if self.schedule == "exponential":
            return self.learning_rate * self.final_rate**progress
        share = 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * share)

    def as_dict(self) -> dict[str, Any]:
        """Settings as JSON can hold them."""
        return asdict(self)


def _is_number(value: object, *, whole: bool = False) -> bool:
    return isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
