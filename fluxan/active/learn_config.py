"""The TOML file of active learning, checked before any work begins.

[reference]
calculator = "my_dft:calculator"       # module:function that returns an ASE calculator; or model = "shipped:agi"
workers = 2
timeout = 3600                         # s

[start]
structures = ["crystal.xyz"]           # any structure file; paths begin where this file lies
temperature = 300                      # K; the next two are per structure
frames = 40
test_frames = 20
sites = ["ideal.xyz"]                  # lattice sites, where some are vacant in the structure
labelled = ["old.xyz"]                 # frames that are labelled already, if there are any

[model]                                # [model], [loss], [flux] and [fit] as in `fluxan train`
kind = "behler-parrinello"
cutoff = 6.0

[train]
epochs = 40                            # of a fit that starts from the round before
trainer = "my_trainer:make"            # in place of [model], another trainer

[ensemble]
subsamples = 2
seeds = 2

[explore]
temperature = 300                      # K
time = 20                              # ps per run

[stop]
rounds = 10
tolerance = 0.1                        # of the error, relatively

[output]
folder = "crystal-learning"
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.active.explore_settings import ExploreSettings
from fluxan.active.reference_settings import ReferenceSettings
from fluxan.errors import FluxanError, InputError
from fluxan.potentials.parameters import check_keys, read_toml
from fluxan.training.fit_settings import FitSettings
from fluxan.training.setting_tables import (
    read_paths,
    read_record,
    read_table,
    read_text,
    require_count,
    require_positive,
)
from fluxan.training.training_config import read_weights
from fluxan.trajectory.labelled_files import LabelKeys, LabelUnits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fluxan.training.loss import LossWeights

SECTIONS = ("reference", "start", "model", "loss", "flux", "fit", "train", "ensemble", "explore", "stop", "output")
#: Ways to make the first frames.
METHODS = ("md", "displacements")


@dataclass(frozen=True, slots=True)
class StartSettings:
    """Section ``[start]``: the frames before the first round.

    Attributes
    ----------
    temperature : float
        K.
    frames, test_frames : int
        Frames per structure to train on, and to test with; the latter are never trained on.
    method : {"md", "displacements"}
        Molecular dynamics with the reference, or displacements drawn from its harmonic distribution, which takes far
        fewer evaluations.
    timestep : float
        fs; of the dynamics.
    spacing : float
        Time between frames, ps; of the dynamics.
    equilibration : float
        Time before the first frame, ps; of the dynamics.
    units : LabelUnits
        Units of the frames that are labelled already.
    keys : LabelKeys
        Names of their labels.
    """

    temperature: float
    frames: int = 40
    test_frames: int = 20
    method: str = "md"
    timestep: float = 2.0
    spacing: float = 0.1
    equilibration: float = 1.0
    units: LabelUnits = field(default_factory=LabelUnits)
    keys: LabelKeys = field(default_factory=LabelKeys)

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("temperature", "timestep", "spacing", "equilibration"):
            require_positive(getattr(self, name), f"start.{name}")
        for name, least in (("frames", 4), ("test_frames", 3)):
            require_count(getattr(self, name), f"start.{name}", least)
        if self.method not in METHODS:
            raise InputError(f"start.method is {self.method!r}; expected one of {', '.join(METHODS)}")
        if 1e3 * self.spacing < self.timestep:
            raise InputError("start.spacing is shorter than start.timestep")


@dataclass(frozen=True, slots=True)
class EnsembleSettings:
    """Section ``[ensemble]``: which members there are.

    Attributes
    ----------
    subsamples : int
        Parts of the data; the members of each do not see one part.
    seeds : int
        Initial weights for each subsample.
    seed : int
        Of everything that is drawn.
    processes : int
        Fits that run at the same time.
    """

    subsamples: int = 2
    seeds: int = 2
    seed: int = 0
    processes: int = 1

    def __post_init__(self) -> None:
        """Check every setting."""
        for name, least in (("subsamples", 2), ("seeds", 1), ("seed", 0), ("processes", 1)):
            require_count(getattr(self, name), f"ensemble.{name}", least)

    @property
    def members(self) -> int:
        """Number of members."""
        return self.subsamples * self.seeds


@dataclass(frozen=True, slots=True)
class StopSettings:
    """Section ``[stop]``: when the loop ends.

    Attributes
    ----------
    rounds : int
        Rounds, at most.
    labels : int or None
        Labelled frames to train on, at most; the runs of the last round choose fewer.
    tolerance : float
        The loop has converged when the force errors of the frames chosen in each of the last three rounds, before they
        were trained on, lie within a range of this times their mean.
    """

    rounds: int = 10
    labels: int | None = None
    tolerance: float = 0.1

    def __post_init__(self) -> None:
        """Check every setting."""
        require_count(self.rounds, "stop.rounds", 1)
        if self.labels is not None:
            require_count(self.labels, "stop.labels", 1)
        require_positive(self.tolerance, "stop.tolerance")


@dataclass(frozen=True, slots=True)
class LearnConfig:
    """Content of a file of active learning.

    Attributes
    ----------
    reference : ReferenceSettings
        What labels frames.
    structures, sites, labelled : tuple of Path
        Structures to begin with, structures whose positions are their lattice sites, and files of frames that are
        labelled already.
    start : StartSettings
        The frames before the first round.
    model : dict
        Section ``[model]``; empty with another trainer.
    weights : LossWeights
        Weights of the loss terms.
    fit : FitSettings
        Of a first fit.
    epochs : int
        Of a fit that starts from the round before.
    trainer : str
        Entry point of another trainer, or empty.
    trainer_options : dict
        Keyword arguments of its factory.
    ensemble : EnsembleSettings
        The members.
    explore : ExploreSettings
        The dynamics, and the choice of frames.
    stop : StopSettings
        When the loop ends.
    folder : Path
        Holds everything.
    source : Path
        The file.
    """

    reference: ReferenceSettings
    structures: tuple[Path, ...]
    sites: tuple[Path, ...]
    labelled: tuple[Path, ...]
    start: StartSettings
    model: dict[str, Any]
    weights: LossWeights
    fit: FitSettings
    epochs: int
    trainer: str
    trainer_options: dict[str, Any]
    ensemble: EnsembleSettings
    explore: ExploreSettings
    stop: StopSettings
    folder: Path
    source: Path


def read_learn_config(path: str | Path, structures: Sequence[Path] | None = None) -> LearnConfig:
    """Read a file of active learning.

    Parameters
    ----------
    path : str or Path
        The TOML file.
    structures : sequence of Path, optional
        Structures to begin with, in place of those that the file names.

    Raises
    ------
    FileError
        It is missing, or not readable.
    InputError
        It is not TOML, or one of its keys is not known or not usable; the message names file and key.
    """
    path = Path(path)
    table = read_toml(path)
    try:
        return config_of(table, path.absolute(), structures)
    except FluxanError as error:
        raise InputError(f"{path}: {error}") from None


def config_of(table: Mapping[str, Any], path: Path, given: Sequence[Path] | None = None) -> LearnConfig:
    """Settings of a table that was read from a file; structures that are given are taken in place of its own."""
    check_keys(table, SECTIONS, "")
    sections = {name: read_table(table.get(name, {}), name) for name in SECTIONS}
    for name in ("reference", "start", "explore"):
        if not sections[name]:
            raise InputError(f"the section [{name}] is missing")
    folder = path.parent
    start, train = dict(sections["start"]), sections["train"]
    named = start.pop("structures", None)
    structures = read_paths(named, folder, "start.structures") if given is None else tuple(given)
    others = {name: start.pop(name, []) for name in ("sites", "labelled")}
    more = {name: read_paths(value, folder, f"start.{name}") if value else () for name, value in others.items()}
    if more["sites"] and len(more["sites"]) != len(structures):
        raise InputError(f"start.sites names {len(more['sites'])} files for {len(structures)} structures")
    for name, kind in (("units", LabelUnits), ("keys", LabelKeys)):
        start[name] = read_record(kind, start.get(name, {}), f"start.{name}")
    check_keys(train, ("epochs", "trainer", "options"), "train.")
    if not sections["model"] and not train.get("trainer"):
        raise InputError("the section [model] is missing; give it, or train.trainer")
    check_keys(sections["output"], ("folder",), "output.")
    epochs = train.get("epochs", 40)
    require_count(epochs, "train.epochs", 1)
    weights = read_weights(sections["loss"] or {"energy": 100.0, "forces": 1.0, "virial": 0.0}, sections["flux"])
    reference = {"stress": bool(weights.virial), **sections["reference"], "folder": str(folder)}
    return LearnConfig(
        reference=read_record(ReferenceSettings, reference, "reference"),
        structures=structures,
        **more,
        start=read_record(StartSettings, start, "start"),
        model=dict(sections["model"]),
        weights=weights,
        fit=read_record(FitSettings, sections["fit"], "fit"),
        epochs=epochs,
        trainer=train.get("trainer", ""),
        trainer_options=dict(read_table(train.get("options", {}), "train.options")),
        ensemble=read_record(EnsembleSettings, sections["ensemble"], "ensemble"),
        explore=read_record(ExploreSettings, sections["explore"], "explore"),
        stop=read_record(StopSettings, sections["stop"], "stop"),
        folder=folder / read_text(sections["output"].get("folder", f"{path.stem}-learning"), "output.folder"),
        source=path,
    )
