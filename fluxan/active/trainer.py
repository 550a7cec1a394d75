"""Trainers of an ensemble's members: fluxan's own, and any other behind an entry point."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from fluxan.errors import InputError
from fluxan.potentials.load import load_model
from fluxan.training.dataset import TrainingSet
from fluxan.training.fit import MODEL, TrainingRun
from fluxan.training.linear_fit import fit_linear
from fluxan.training.training_job import make_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fluxan.potentials.base import Potential
    from fluxan.training.fit_settings import FitSettings
    from fluxan.training.loss import LossWeights
    from fluxan.trajectory.labelled_frame import LabelledFrame


class Trainer(Protocol):
    """What fits the members of an ensemble; an entry point ``module:factory`` returns one."""

    def fit(
        self,
        train: Sequence[LabelledFrame],
        validation: Sequence[LabelledFrame],
        *,
        folder: Path,
        seed: int,
        start: Path | None,
    ) -> None:
        """Fit one member and store it.

        Parameters
        ----------
        train, validation : sequence of LabelledFrame
            Frames to fit, and frames to validate with.
        folder : Path
            Of this fit alone. An interrupted fit is called again with the same folder, and must come to the same model.
        seed : int
            Of initial weights and order.
        start : Path or None
            Folder of the same member's last fit, to start from.
        """

    def load(self, folder: Path) -> Potential:
        """The model that `fit` has stored in a folder."""


class OwnTrainer:
    """Trains fluxan's own potentials, which start from the parameters of the round before.

    Parameters
    ----------
    model : dict
        Section ``[model]`` of a training file.
    weights : LossWeights
        Weights of the loss terms.
    settings : FitSettings
        Of a first fit.
    epochs : int
        Of a fit that starts from another.
    """

    def __init__(self, model: dict[str, Any], weights: LossWeights, settings: FitSettings, epochs: int) -> None:
        self._model, self._weights, self._settings, self._epochs = model, weights, settings, epochs

    @property
    def is_linear(self) -> bool:
        """Whether the fit has no random part, so that seeds make no difference."""
        return self._model.get("kind") == "linear"

    def fit(
        self,
        train: Sequence[LabelledFrame],
        validation: Sequence[LabelledFrame],
        *,
        folder: Path,
        seed: int,
        start: Path | None,
    ) -> None:
        """See `Trainer`."""
        training_set, held = TrainingSet(train), TrainingSet(validation)
        model = make_model(self._model, training_set, seed=None if self.is_linear else seed)
        if self.is_linear:
            folder.mkdir(parents=True, exist_ok=True)
            fit_linear(model, training_set, self._weights)  # type: ignore[arg-type]
            model.save(folder / MODEL, {"data": training_set.sha256})  # type: ignore[operator]
            return
        settings = replace(self._settings, seed=seed)
        if start is not None:
            model.load_state_dict(load_model(start / MODEL).state_dict())
            settings = replace(settings, epochs=self._epochs)
        run = TrainingRun(model, training_set, held, weights=self._weights, settings=settings, folder=folder)
        run.run(resume=True)

    def load(self, folder: Path) -> Potential:
        """See `Trainer`."""
        return load_model(folder / MODEL)


def require_trainer(found: object, entry: str) -> Trainer:
    """Return what a factory gave if it can train, or raise `InputError`."""
    missing = [name for name in ("fit", "load") if not callable(getattr(found, name, None))]
    if missing:
        raise InputError(
            f"train.trainer: {entry} returned {type(found).__name__}, which has no {' and no '.join(missing)}"
        )
    return found  # type: ignore[return-value]
