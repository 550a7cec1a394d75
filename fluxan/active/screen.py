"""Screens materials: a short loop for each, and whether its model misses events or invents them, before and after.

The dynamics with the reference that the loop begins with are the measure: events along them are compared with those
along dynamics of the same length with the first round's models, and with the last round's. Events of the models are
labelled by the reference, which shows the false ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase.data import chemical_symbols

from fluxan.active.acceptance import AcceptanceRule
from fluxan.active.credibility import Credibility, shortest_distances
from fluxan.active.ensemble_errors import ensemble_errors
from fluxan.active.event_comparison import EventTolerance, RelabelledEvent, compare_events
from fluxan.active.explore import Explorer
from fluxan.active.initial_frames import read_structures, reference_frames
from fluxan.active.label import Labeller
from fluxan.active.lattice_sites import LatticeSites
from fluxan.active.learning_data import LearningFolder
from fluxan.active.learning_round import NEAR, load_ensemble
from fluxan.active.loop import learn
from fluxan.active.site_tracker import SiteTracker
from fluxan.errors import InputError
from fluxan.plain_files import read_json, write_json
from fluxan.trajectory.labelled_writer import rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fluxan.active.ensemble import Ensemble
    from fluxan.active.events import Event, EventList
    from fluxan.active.learn_config import LearnConfig
    from fluxan.system import Frame

#: Ends of the names of files that hold the lattice sites of a structure with vacancies.
SITES = ".sites"
#: Events of a model that are labelled, and frames of each, at most.
_MAX_EVENTS, _MAX_FRAMES = 10, 4


class Judgement(NamedTuple):
    """A model's events against the reference's.

    Attributes
    ----------
    verdict : str
        "fine", "missed", "false", or "missed, false".
    reference, model : int
        Number of events along dynamics of the same length.
    missed, false : int
        Events of the reference that the model misses, and of the model that the reference does not confirm.
    reason : str
        Why the model's run left physics; empty if it did not.
    """

    verdict: str
    reference: int
    model: int
    missed: int
    false: int
    reason: str


def structures_in(folder: Path) -> list[Path]:
    """Structure files of a folder, without those that hold lattice sites.

    Raises
    ------
    InputError
        There is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of structures")
    files = sorted(folder.iterdir(), key=lambda path: path.stem)
    found = [path for path in files if path.is_file() and not path.stem.endswith(SITES)]
    if not found:
        raise InputError(f"{folder} holds no structure")
    return found


def screen(config: LearnConfig, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run a loop for each structure of the settings, and judge its models.

    Parameters
    ----------
    config : LearnConfig
        Its structures are the materials; each gets a folder of its own within that of the settings.
    say : callable
        Called with a line on what is being done.

    Returns
    -------
    list of dict
        Name, numbers of atoms and labels, force RMSE of the test set, and the judgements ``before`` and ``after``.
    """
    rows = []
    for path in config.structures:
        place = config.folder / path.stem
        if not (place / "screen.json").exists():
            say(f"{path.stem}: learn")
            write_json(place / "screen.json", _row(_config_of(config, path), say))
        rows.append(read_json(place / "screen.json"))
    return rows


def _config_of(config: LearnConfig, path: Path) -> LearnConfig:
    """Settings of one material."""
    sites = path.with_name(f"{path.stem}{SITES}{path.suffix}")
    given = (sites,) if sites.exists() else ()
    return replace(config, structures=(path,), sites=given, folder=config.folder / path.stem)


def _row(config: LearnConfig, say: Callable[[str], None]) -> dict[str, Any]:
    result = learn(config, resume=True, say=say)
    name, last = config.structures[0].stem, len(result.records) - 1
    structure = read_structures(config.structures)[0]
    row: dict[str, Any] = {
        "name": name,
        "atoms": structure.n_atoms,
        "labels": result.records[-1]["labels"]["total"],
        "forces": [result.records[k]["test"]["forces"] for k in (0, -1)],
    }
    with Labeller(config.reference) as labeller:
        for when, number in (("before", 0), ("after", last)):
            say(f"{name}: events {when} learning")
            row[when] = judge(config, structure, number, labeller)._asdict()
    return row


def judge(config: LearnConfig, structure: Frame, number: int, labeller: Labeller) -> Judgement:
    """Compare the events of a round's mean model with those of the reference.

    Parameters
    ----------
    config : LearnConfig
        Of one structure.
    structure : Frame
        The structure.
    number : int
        Round.
    labeller : Labeller
        Labels the model's events.
    """
    files, ensemble = LearningFolder(config.folder), load_ensemble(config, number)
    sites = read_structures(config.sites)[0] if config.sites else structure
    frames = reference_frames(config.start, files.root / "initial" / "structure-0" / "dynamics", structure)
    reference = _events(frames, sites)
    test = ensemble_errors(ensemble, files.frames("test"), config.explore)
    rule = AcceptanceRule.of_test_set(test.uncertainties.tolist(), test.mean_energies.tolist())
    moved, reason = _dynamics(ensemble, config, rule, structure, len(frames))
    model = _events(moved, sites) if len(moved) > 1 else replace(reference, events=(), duration=config.start.spacing)
    tolerance = EventTolerance(
        test.rmse()["forces"],
        max(1e-9, float(np.std(test.energies * structure.n_atoms, ddof=1))),
        temperature=config.start.temperature,
    )
    place = files.root / "events" / f"round-{number:03d}"
    relabelled = _relabelled(ensemble, model, moved, labeller, place)
    found = compare_events(reference, model, relabelled=relabelled, tolerance=tolerance)
    missed, false = found.missed.count, 0 if found.false is None else found.false.count
    verdict = ", ".join(name for name, there in (("missed", missed), ("false", false or reason)) if there)
    return Judgement(verdict or "fine", len(reference), len(model), missed, false, reason)


def _events(frames: Sequence[Frame], sites: Frame) -> EventList:
    tracker = SiteTracker(LatticeSites.of_frame(sites), [chemical_symbols[z] for z in frames[0].numbers])
    for frame in frames:
        tracker.update(frame)
    return tracker.finish()


def _dynamics(
    ensemble: Ensemble, config: LearnConfig, rule: AcceptanceRule, structure: Frame, n_frames: int
) -> tuple[list[Frame], str]:
    """Frames of dynamics with the mean model, like those with the reference, and why they have ended early."""
    initial = LearningFolder(config.folder).frames("initial")
    closest = shortest_distances([item.frame for item in initial], NEAR)
    start = config.start
    limits = Credibility(closest, start.temperature, rule.mean_energy, rule.std_energy)
    settings = replace(
        config.explore,
        temperature=start.temperature,
        timestep=start.timestep,
        spacing=start.spacing,
        time=start.spacing * n_frames,
        rule="random",
        threshold=None,
    )
    moved: list[Frame] = []

    def watch(time: float, frame: Frame) -> None:
        moved.append(rounded(frame.replace(time=time)))

    found = Explorer(ensemble, rule, limits, settings, watch).run(structure, [config.ensemble.seed, 7])
    return moved, found.reason


def _relabelled(
    ensemble: Ensemble, events: EventList, frames: Sequence[Frame], labeller: Labeller, place: Path
) -> dict[int, RelabelledEvent]:
    """Model and reference along the first events of a model."""
    found = {}
    for index, event in enumerate(list(events)[:_MAX_EVENTS]):
        along = _along(event, frames)
        if len(along) < 2:
            continue
        answers = labeller.label(along, place / f"event-{index}")
        if any("failure" in answer for answer in answers):
            continue
        predictions = [ensemble.evaluate(frame) for frame in along]
        atoms = list(event.atoms)
        found[index] = RelabelledEvent(
            np.array([prediction.energies.mean() for prediction in predictions]),
            np.array([answer["energy"] for answer in answers]),
            np.array([prediction.forces.mean(axis=0)[atoms] for prediction in predictions]),
            np.array([np.array(answer["forces"])[atoms] for answer in answers]),
        )
    return found


def _along(event: Event, frames: Sequence[Frame]) -> list[Frame]:
    """One frame before an event, and some from its beginning to its end."""
    times = np.array([frame.time for frame in frames])
    first = max(0, int(np.searchsorted(times, event.time)) - 1)
    last = min(len(frames) - 1, int(np.searchsorted(times, event.time + event.duration)))
    chosen = np.unique(np.linspace(first, last, _MAX_FRAMES).round().astype(int))
    return [frames[k] for k in chosen]
