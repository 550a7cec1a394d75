"""Fits a model to labelled frames: averaged parameters, early stopping, a checkpoint every epoch.

The state after each epoch is on disk before the next begins. An interrupted fit goes on from there, and ends with the
same model bit for bit on the same machine and number of threads: the order of batches depends on seed and epoch alone.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from fluxan.errors import ModelError, OutputError
from fluxan.flux.energies import model_dtype, model_name
from fluxan.flux.evaluate import refuse_unknown_elements
from fluxan.potentials.descriptor_potential import DescriptorPotential
from fluxan.potentials.load import load_model
from fluxan.potentials.model_file import write_model
from fluxan.training.batches import with_tables
from fluxan.training.checkpoint import read_checkpoint, write_checkpoint
from fluxan.training.history import History, column
from fluxan.training.loss import TERMS
from fluxan.training.optimizer_steps import OptimizerSteps
from fluxan.training.term_errors import term_errors, weighted_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fluxan.potentials.base import Potential
    from fluxan.training.batches import Batch
    from fluxan.training.dataset import TrainingSet
    from fluxan.training.fit_settings import FitSettings
    from fluxan.training.loss import LossWeights

#: Files of a fit.
MODEL, CHECKPOINT, HISTORY = "model.safetensors", "checkpoint.safetensors", "history.csv"


class FitResult(NamedTuple):
    """Outcome of a fit.

    Attributes
    ----------
    model : Potential
        With the parameters of the smallest validation loss.
    epoch : int
        Epoch of these parameters, counted from 0.
    errors : dict of str to float
        Validation RMSE of each term at that epoch: eV/atom, eV/Å, eV/atom and, for the flux, eV Å/ps per root of the
        number of atoms.
    history : list of dict
        Rows of the history, one per epoch.
    """

    model: Potential
    epoch: int
    errors: dict[str, float]
    history: list[dict[str, float]]


class TrainingRun:
    """One fit in one folder.

    Parameters
    ----------
    model : Potential
        Is changed in place; of a kind that `fluxan.potentials.model_file` can write.
    train, validation : TrainingSet
        Frames to fit, and frames to validate with.
    weights : LossWeights
        Weights of the loss terms.
    settings : FitSettings
        Of the optimizer.
    folder : Path
        For `MODEL`, `CHECKPOINT` and `HISTORY`; it is created.
    monitor : callable, optional
        Called with the model after each epoch; gives further columns of the history.

    Raises
    ------
    InputError
        A frame lacks a label that the weights ask for.
    ModelError
        The model does not know an element of the frames.
    """

    def __init__(
        self,
        model: Potential,
        train: TrainingSet,
        validation: TrainingSet,
        *,
        weights: LossWeights,
        settings: FitSettings,
        folder: Path,
        monitor: Callable[[Potential], Mapping[str, float]] | None = None,
    ) -> None:
        for part in (train, validation):
            part.require(weights.needs())
            refuse_unknown_elements(model, part.elements)  # type: ignore[arg-type]
        self.model, self.weights, self.settings, self.folder, self._monitor = model, weights, settings, folder, monitor
        self.identity = {
            "model": _described(model),
            "training data": train.sha256,
            "validation data": validation.sha256,
            "loss": asdict(weights),
            "settings": settings.as_dict(),
        }
        self._sets = {"train": train, "validation": validation}
        self._steps = OptimizerSteps(model, weights, settings, check=_require_finite)
        self._history = History(folder / HISTORY)
        self._epoch, self._best, self._best_epoch = 0, math.inf, -1

    @cached_property
    def _batches(self) -> dict[str, list[Batch]]:
        """Batches of both sets, which a fit that has come to its end does not need."""
        return {name: _joined(self.model, part, self.weights, self.settings) for name, part in self._sets.items()}

    def run(
        self, *, resume: bool = False, progress: Callable[[int, Mapping[str, float]], None] | None = None
    ) -> FitResult:
        """Fit until the last epoch, or until the validation loss has not fallen for `FitSettings.patience` epochs.

        Parameters
        ----------
        resume : bool
            Go on from the checkpoint in the folder, if there is one.
        progress : callable, optional
            Called after each epoch with its number and its row of the history.

        Raises
        ------
        OutputError
            The checkpoint belongs to another fit, or a file cannot be written.
        ModelError
            The loss is not finite; the model of the best epoch before stays on disk.
        """
        self._start(resume=resume)
        while self._epoch < self.settings.epochs and self._epoch - self._best_epoch <= self.settings.patience:
            try:
                row = self._run_epoch()
            except ModelError as error:
                raise ModelError(f"epoch {self._epoch}: {error}; {self._left()}") from error
            if progress is not None:
                progress(self._epoch - 1, row)
        best = self._history.rows[self._best_epoch]
        errors = {term: best[column("validation", term)] for term in TERMS if column("validation", term) in best}
        return FitResult(load_model(self.folder / MODEL), self._best_epoch, errors, self._history.rows)

    def _start(self, *, resume: bool) -> None:
        """Begin, or take up the state of the checkpoint."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be made: {error.strerror}") from None
        path = self.folder / CHECKPOINT
        if not (resume and path.exists()):
            self._history.cut(0)
            return
        state = read_checkpoint(path)
        for name, value in self.identity.items():
            if state["identity"].get(name) != _as_json(value):
                raise OutputError(f"{path} belongs to a fit with another {name}; begin anew in another folder")
        self.model.load_state_dict(state["model"])
        self._steps.load_state(state["steps"])
        self._epoch, self._best, self._best_epoch = state["epoch"], state["best"], state["best_epoch"]
        self._history.cut(self._epoch)

    def _run_epoch(self) -> dict[str, float]:
        """One pass through the batches, validation, and the files."""
        epoch = self._epoch
        means = self._steps.run(self._batches["train"], epoch)
        with self._steps.averages.applied():
            held = term_errors(self.model, self._batches["validation"], self.weights)
            loss = _require_finite(weighted_loss(held.mean_squares, self.weights))
            row = {"epoch": float(epoch), "learning rate": self.settings.rate(epoch)}
            row |= {"train loss": weighted_loss(means.mean_squares, self.weights), "validation loss": loss}
            for part, errors in (("train", means.errors), ("validation", held.errors)):
                row |= {column(part, term): errors[term] for term in TERMS if term in errors}
            row |= dict(self._monitor(self.model)) if self._monitor is not None else {}
            if loss < self._best:
                self._best, self._best_epoch = loss, epoch
                self._write_model(row)
        self._epoch = epoch + 1
        self._history.append(row)
        self._write_checkpoint()
        return row

    def _left(self) -> str:
        """What is on disk when a fit stops."""
        if self._best_epoch < 0:
            return "no epoch was completed"
        return f"the best model before, of epoch {self._best_epoch}, is in {self.folder / MODEL}"

    def _write_model(self, row: Mapping[str, float]) -> None:
        record = {"identity": _as_json(self.identity), "epoch": self._epoch, "errors": dict(row)}
        kind, hyperparameters = _described(self.model)
        write_model(self.folder / MODEL, kind, hyperparameters, self.model.state_dict(), record)

    def _write_checkpoint(self) -> None:
        state = {
            "identity": _as_json(self.identity),
            "model": dict(self.model.state_dict()),
            "steps": self._steps.state(),
            "epoch": self._epoch,
            "best": self._best,
            "best_epoch": self._best_epoch,
        }
        write_checkpoint(self.folder / CHECKPOINT, state)


def _require_finite(loss: float) -> float:
    """Return a loss, or stop the fit."""
    if not math.isfinite(loss):
        raise ModelError(f"the loss is {loss}; lower the learning rate or set fit.clip")
    return loss


def _joined(model: Potential, part: TrainingSet, weights: LossWeights, settings: FitSettings) -> list[Batch]:
    """Batches in the model's dtype; runs of consecutive frames where the flux term is that of a band."""
    term, dtype = weights.term, model_dtype(model)
    if term is not None and term.form == "band":
        batches = part.batches(model.cutoff, term.window, dtype=dtype, elements=model.elements, consecutive=True)
    else:
        size, seed = settings.batch_size, settings.seed
        batches = part.batches(model.cutoff, size, seed=seed, dtype=dtype, elements=model.elements)
    return with_tables(model, batches) if isinstance(model, DescriptorPotential) else batches


def _described(model: Potential) -> list[Any]:
    """Kind and hyperparameters of a model."""
    from fluxan.potentials.equivariant import KIND, EquivariantNetwork

    kind = KIND if isinstance(model, EquivariantNetwork) else getattr(model, "kind", None)
    hyperparameters = getattr(model, "hyperparameters", None)
    if kind is None or hyperparameters is None:
        raise ModelError(f"{model_name(model)} cannot be stored by fluxan: it has no kind and hyperparameters")
    return [kind, _as_json(hyperparameters)]


def _as_json(value: Any) -> Any:
    """A value as it comes back from JSON."""
    import json

    return json.loads(json.dumps(value))
