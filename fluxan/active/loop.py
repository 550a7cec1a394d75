"""`learn`: the loop of active learning, in one folder of plain files, which goes on wherever it was interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fluxan.active.initial_frames import initial_frames, read_structures
from fluxan.active.label import Labeller, labelled, require_consistent
from fluxan.active.learning_data import GIVEN, INITIAL, LearningFolder
from fluxan.active.learning_round import LearningRound, make_trainer
from fluxan.errors import InputError, OutputError
from fluxan.plain_files import write_json
from fluxan.replacement import replacing
from fluxan.training.conventions import with_virials
from fluxan.trajectory.labelled_files import read_labelled
from fluxan.trajectory.labelled_writer import write_labelled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fluxan.active.learn_config import LearnConfig
    from fluxan.system import Frame
    from fluxan.trajectory.labelled_frame import LabelledFrame

#: Rounds over which the monitored error must not change.
_WINDOW = 3


class LearningResult(NamedTuple):
    """Outcome of a loop.

    Attributes
    ----------
    records : list of dict
        Record of each round.
    status : str
        "running", "converged", or "budget spent".
    members : list of Path
        Folders of the last round's members.
    """

    records: list[dict[str, Any]]
    status: str
    members: list[Path]


def learn(
    config: LearnConfig,
    *,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
    after_round: Callable[[list[dict[str, Any]], str], None] | None = None,
) -> LearningResult:
    """Sample, train, explore, label and train again, until the error no longer changes or the budget is spent.

    Parameters
    ----------
    config : LearnConfig
        Settings.
    resume : bool
        Go on in a folder that a loop was begun in.
    say : callable, optional
        Called with a line on what is being done.
    after_round : callable, optional
        Called with all records and the status after each round.

    Raises
    ------
    OutputError
        The folder holds a loop already and `resume` is not given, or a file cannot be written.
    InputError
        A setting is not usable, the reference fails, or no run stays within physics.
    """
    say = _silent if say is None else say
    files = LearningFolder(config.folder)
    _begin(config, files, resume=resume)
    _refuse_identical_members(config)
    structures = read_structures(config.structures)
    with Labeller(config.reference) as labeller:
        _sample(config, files, structures, labeller, say)
        while True:
            records = counted(config, files.records())
            status = status_of(config, records)
            if after_round is not None:
                after_round(records, status)
            if status != "running":
                members = [files.member(len(records) - 1, k) for k in range(config.ensemble.members)]
                return LearningResult(records, status, members)
            one = LearningRound(config, len(records), structures, say)
            ensemble = one.train()
            tested = one.test(ensemble)
            last = stops(config, records)
            one.record(ensemble, tested, None if last else one.label(one.explore(ensemble, tested), labeller))


def _silent(_: str) -> None:
    """Say nothing."""


def status_of(config: LearnConfig, records: list[dict[str, Any]]) -> str:
    """Status of a loop: "running", or why it has ended."""
    if not records or records[-1]["exploration"] is not None:
        return "running"
    return "converged" if _converged(config, records[:-1]) else "budget spent"


def counted(config: LearnConfig, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records of the rounds that are over: without the last one, where a larger budget lets it explore after all."""
    ended = records and records[-1]["exploration"] is None
    return records[:-1] if ended and not stops(config, records[:-1]) else records


def stops(config: LearnConfig, records: list[dict[str, Any]]) -> bool:
    """Whether the next round only trains on what there is."""
    explored = len(records)
    if explored >= config.stop.rounds or _converged(config, records):
        return True
    if config.stop.labels is None:
        return False
    total = records[-1]["labels"]["total"] if records else len(LearningFolder(config.folder).frames("initial"))
    return total >= config.stop.labels


def _converged(config: LearnConfig, records: list[dict[str, Any]]) -> bool:
    """Whether nothing new was found, or errors of new frames no longer change."""
    if records and records[-1]["labels"]["new"] == 0 and not records[-1]["labels"]["failed"]:
        return True
    last = [record["new"] for record in records[-_WINDOW:]]
    if len(last) < _WINDOW or any(errors is None for errors in last):
        return False
    forces = [errors["forces"] for errors in last]
    return max(forces) - min(forces) < config.stop.tolerance * sum(forces) / _WINDOW


def _begin(config: LearnConfig, files: LearningFolder, *, resume: bool) -> None:
    """Make the folder, or see that it belongs to these settings; the limits of section [stop] may differ."""
    import tomllib

    text = config.source.read_text(encoding="utf-8")
    if files.config.exists():
        if not resume:
            raise OutputError(f"{files.root} holds a loop already; give --resume to go on, or another output.folder")
        before, now = tomllib.loads(files.config.read_text(encoding="utf-8")), tomllib.loads(text)
        for name in sorted({*before, *now} - {"stop"}):
            if before.get(name) != now.get(name):
                raise InputError(f"{files.root} was begun with another [{name}]; begin anew in another output.folder")
        return
    with replacing(files.config, parents=True) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _refuse_identical_members(config: LearnConfig) -> None:
    if getattr(make_trainer(config), "is_linear", False) and config.ensemble.seeds > 1:
        raise InputError(
            "ensemble.seeds: linear fits of one subsample are identical whatever the seed; "
            f"give seeds = 1 and more subsamples (now {config.ensemble.subsamples})"
        )


def _sample(
    config: LearnConfig,
    files: LearningFolder,
    structures: list[Frame],
    labeller: Labeller,
    say: Callable[[str], None],
) -> None:
    """Make and label the frames before the first round, unless they are there."""
    if files.data("test").exists() and files.data("initial").exists():
        return
    require_consistent(_shaken(structures[0]), labeller, files.root / "initial" / "consistency")
    train: list[LabelledFrame] = []
    test: list[LabelledFrame] = []
    failures: list[str] = []
    for k, structure in enumerate(structures):
        say(f"sample structure {k + 1} of {len(structures)}: {config.start.method}")
        place = files.root / "initial" / f"structure-{k}"
        seed = [config.ensemble.seed, k]
        frames = initial_frames(structure, config.reference, config.start, place / "dynamics", seed)
        answers = labeller.label(frames, place / "labels")
        for number, (frame, answer) in enumerate(zip(frames, answers, strict=True)):
            if "failure" in answer:
                failures.append(f"structure {k}, frame {number}: {answer['failure']}")
                continue
            item = labelled(frame, answer, f"{INITIAL}: structure {k}")
            (train if number < config.start.frames else test).append(item)
    write_json(files.root / "initial" / "failures.json", failures)
    subsamples = config.ensemble.subsamples
    if len(train) < 2 * subsamples or len(test) < 3:
        why = f"the reference failed for {len(failures)} initial frames, {failures[0]}; " if failures else ""
        raise InputError(
            f"{why}{len(train)} frames to train on and {len(test)} to test with are too few for {subsamples} "
            f"subsamples, which need {2 * subsamples} and 3; raise start.frames or start.test_frames"
        )
    write_labelled(files.data("initial"), train + _given(config))
    write_labelled(files.data("test"), test)


def _given(config: LearnConfig) -> list[LabelledFrame]:
    """Frames that were labelled before, with the convention of their stress detected."""
    if not config.labelled:
        return []
    read = list(read_labelled(config.labelled, config.start.units, config.start.keys))
    found = with_virials(read)[0] if config.weights.virial else [item.labelled for item in read]
    return [item.replace(trajectory=f"{GIVEN}: {item.trajectory}") for item in found]


def _shaken(structure: Frame) -> Frame:
    """A structure displaced by some hundredths of an Å, where forces do not vanish."""
    import numpy as np

    from fluxan.trajectory.labelled_writer import rounded

    moved = structure.positions + np.random.default_rng(0).normal(scale=0.03, size=structure.positions.shape)
    return rounded(structure.replace(positions=moved))
