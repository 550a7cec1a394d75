"""A training from its file: reads frames, makes the model, fits it, and writes it."""

from __future__ import annotations

import inspect
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from fluxan.errors import InputError, OutputError
from fluxan.potentials.behler_parrinello import BehlerParrinello
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.potentials.linear_potential import LinearPotential
from fluxan.potentials.parameters import check_keys, label_of, read_choice
from fluxan.potentials.symmetry_functions import default_functions
from fluxan.training.conventions import with_virials
from fluxan.training.dataset import TrainingSet
from fluxan.training.fit import MODEL, FitResult, TrainingRun
from fluxan.training.initial_values import given_offsets, set_initial_values
from fluxan.training.invariant_monitor import InvariantMonitor
from fluxan.training.invariant_points import KnownStructures
from fluxan.training.linear_fit import fit_linear, virials_from_forces
from fluxan.training.term_errors import term_errors
from fluxan.trajectory.labelled_files import read_labelled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fluxan.potentials.base import Potential
    from fluxan.training.conventions import Convention
    from fluxan.training.training_config import DataConfig, TrainingConfig

#: Kinds of models that can be trained.
KINDS = ("linear", "behler-parrinello", "equivariant")


class TrainingData(NamedTuple):
    """Frames of a training.

    Attributes
    ----------
    train, validation : TrainingSet
        Frames to fit and to validate with.
    convention : Convention or None
        How the stress was read; None where there is none.
    """

    train: TrainingSet
    validation: TrainingSet
    convention: Convention | None


def load_data(config: DataConfig) -> TrainingData:
    """Read the frames of a training, find the convention of their stress, and hold some back.

    Raises
    ------
    FileError, InputError, TrajectoryError
        A file, a label or the convention is not usable.
    """
    frames = list(read_labelled(config.files, config.units, config.keys))
    n_files = len(frames)
    if isinstance(config.validation, tuple):
        frames += read_labelled(config.validation, config.units, config.keys)

    def predicted() -> Any:
        return virials_from_forces([item.labelled for item in frames])

    complete = all(item.labelled.energy is not None and item.labelled.forces is not None for item in frames)
    labelled, convention = with_virials(frames, stated=config.stress, predicted=predicted if complete else None)
    everything = TrainingSet(labelled)
    if isinstance(config.validation, tuple):
        train, held = list(range(n_files)), list(range(n_files, len(labelled)))
    else:
        train, held = everything.split(config.validation)
    return TrainingData(TrainingSet([labelled[k] for k in train]), _held(labelled, held), convention)


def load_monitor(config: TrainingConfig, data: TrainingData) -> InvariantMonitor | None:
    """Read the structures at which atomic energies are monitored; None if the file names none.

    Those that the training frames hold are left out with a warning: their error is what the fit makes small.

    Raises
    ------
    FileError, TrajectoryError
        A file or a structure is not usable.
    InputError
        A structure is no invariant point or has no energy, or all are training frames.
    """
    settings = config.mapping
    if not settings.structures:
        return None
    read = list(read_labelled(settings.structures, config.data.units, config.data.keys))
    known = KnownStructures(data.train.frames, tolerance=settings.tolerance)
    new = []
    for item in read:
        strangers = sorted(set(item.labelled.frame.numbers.tolist()) - set(data.train.elements))
        if strangers:
            raise InputError(f"{item.where}: {label_of(strangers[0])} occurs in no training frame")
        if item.labelled.frame not in known:
            new.append(item)
    if len(new) < len(read):
        left = f"{len(read) - len(new)} of {len(read)} structures to monitor are training frames, and are left out"
        warnings.warn(left, stacklevel=2)
    return InvariantMonitor({item.where: item.labelled for item in new}, tolerance=settings.tolerance)


def _held(labelled: Sequence[Any], held: Sequence[int]) -> TrainingSet:
    """Frames to validate with; a single one is taken twice, since a set has two or more."""
    chosen = [labelled[k] for k in held]
    return TrainingSet(chosen if len(chosen) > 1 else chosen * 2)


def make_model(settings: Mapping[str, Any], training_set: TrainingSet, *, seed: int | None = None) -> Potential:
    """Make the model of a training file's section ``[model]``, with initial values from the frames.

    Parameters
    ----------
    settings : mapping
        ``kind``, ``offsets`` and the settings of that kind.
    training_set : TrainingSet
        Frames to fit.
    seed : int, optional
        Of the initial weights, in place of that in the settings.

    Raises
    ------
    InputError
        A setting is not known or not usable; the message names its key.
    ModelError
        As above, where the model itself refuses it.
    """
    values = dict(settings)
    kind = values.pop("kind", None)
    if kind is None:
        raise InputError(f"model.kind is missing; expected one of {', '.join(KINDS)}")
    read_choice(kind, "model.kind", KINDS)
    offsets = values.pop("offsets", "fit")
    model = _network(kind, values, training_set, seed)
    set_initial_values(model, training_set, given_offsets(offsets, training_set))
    return model


def linear_model(settings: Mapping[str, Any], elements: Sequence[int]) -> LinearPotential:
    """Linear model on the descriptors of a section ``[model]`` that has no other keys than theirs.

    Raises
    ------
    InputError
        A setting is not known or not usable; the message names its key.
    """
    check_keys(settings, sorted(_options(default_functions) - {"elements"}), "model.")
    if "cutoff" not in settings:
        raise InputError("model.cutoff (Å) is missing")
    values = {"triplet_cutoff": min(5.0, settings["cutoff"]), **settings}
    try:
        return LinearPotential(default_functions(elements, **values))
    except TypeError as error:
        raise InputError(f"[model]: {error}") from None


def make_linear(settings: Mapping[str, Any], training_set: TrainingSet) -> LinearPotential:
    """Linear model on the descriptors of section ``[model]``; on standard ones for a network without descriptors.

    Raises
    ------
    InputError
        A setting is not known or not usable.
    """
    of_functions = _options(default_functions) - {"elements"}
    values = {name: value for name, value in settings.items() if name in of_functions}
    if settings.get("kind") == "equivariant":
        values.setdefault("cutoff", 5.0)
    return linear_model(values, training_set.elements)


def _network(kind: str, values: dict[str, Any], training_set: TrainingSet, seed: int | None) -> Potential:
    elements = training_set.elements
    if kind == "equivariant":
        known = _options(EquivariantNetwork.__init__) - {"elements"}
        check_keys(values, sorted(known), "model.")
        return EquivariantNetwork(elements, **values | ({} if seed is None else {"seed": seed}))
    if kind == "linear":
        return linear_model(values, elements)
    own, of_functions = {"hidden", "activation", "seed"}, _options(default_functions) - {"elements"}
    check_keys(values, sorted(of_functions | own), "model.")
    functions = linear_model({k: v for k, v in values.items() if k in of_functions}, elements).functions
    options = {k: v for k, v in values.items() if k in own} | ({} if seed is None else {"seed": seed})
    return BehlerParrinello(functions, **options)


def _options(function: Callable[..., object]) -> set[str]:
    return {name for name in inspect.signature(function).parameters if name != "self"}


def train(
    config: TrainingConfig,
    data: TrainingData,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, Mapping[str, float]], None] | None = None,
    monitor: Callable[[Potential], Mapping[str, float]] | None = None,
) -> FitResult:
    """Train the model of a training file, and write it to its folder.

    Parameters
    ----------
    config : TrainingConfig
        The file.
    data : TrainingData
        Its frames, from `load_data`.
    resume : bool
        Go on from the last epoch of an interrupted fit.
    overwrite : bool
        Begin anew where the folder holds a model.
    progress, monitor : callable, optional
        See `TrainingRun`; by default the structures of section ``[mapping]`` are monitored.

    Raises
    ------
    OutputError
        The folder holds a model already, and neither `resume` nor `overwrite` is given.
    InputError, ModelError
        A setting, a label or an element is not usable, or the loss is not finite.
    """
    path = config.folder / MODEL
    if path.exists() and not (resume or overwrite):
        raise OutputError(f"{path} exists; give --resume to go on, --overwrite to begin anew")
    data.train.require(config.weights.needs())
    model = make_model(config.model, data.train)
    if isinstance(model, LinearPotential):
        return _train_linear(model, config, data)
    if monitor is None:
        monitor = load_monitor(config, data)
    run = TrainingRun(
        model,
        data.train,
        data.validation,
        weights=config.weights,
        settings=config.fit,
        folder=config.folder,
        monitor=monitor,
    )
    return run.run(resume=resume, progress=progress)


def _train_linear(model: LinearPotential, config: TrainingConfig, data: TrainingData) -> FitResult:
    """Least squares, which have no epochs."""
    config.folder.mkdir(parents=True, exist_ok=True)
    fit_linear(model, data.train, config.weights)
    batches = data.validation.batches(model.cutoff, config.fit.batch_size, elements=model.elements)
    errors = term_errors(model, batches, config.weights).errors
    record = {"data": data.train.sha256, "loss": asdict(config.weights), "errors": errors}
    model.save(config.folder / MODEL, record)
    return FitResult(model, 0, errors, [])
