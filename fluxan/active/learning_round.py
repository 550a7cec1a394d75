"""One round of the loop: train, test, explore, label. Each step is on disk before the next, and is not done twice."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase.data import chemical_symbols

from fluxan.active.acceptance import AcceptanceRule
from fluxan.active.credibility import Credibility, shortest_distances
from fluxan.active.ensemble import Ensemble
from fluxan.active.ensemble_errors import EnsembleErrors, ensemble_errors, flux_spread
from fluxan.active.events import KINDS
from fluxan.active.explore import Explorer
from fluxan.active.initial_frames import read_structures
from fluxan.active.label import labelled
from fluxan.active.label_worker import load_entry
from fluxan.active.lattice_sites import LatticeSites
from fluxan.active.learning_data import LearningFolder, composition_of
from fluxan.active.site_tracker import SiteTracker
from fluxan.active.trainer import OwnTrainer, Trainer, require_trainer
from fluxan.errors import FluxanError, InputError
from fluxan.plain_files import read_json, write_json
from fluxan.trajectory.labelled_frame import LabelledFrame
from fluxan.trajectory.labelled_writer import write_labelled
from fluxan.units import BOLTZMANN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fluxan.active.explore import Exploration
    from fluxan.active.label import Labeller
    from fluxan.active.learn_config import LearnConfig
    from fluxan.system import Frame

#: Distances below this are looked at when the shortest ones of the data are found, Å.
NEAR = 4.0


class MemberFit(NamedTuple):
    """One member's fit.

    Attributes
    ----------
    number, member : int
        Round and member.
    seed : int
        Of the member.
    subsample : int
        Part of the data that it does not see.
    """

    number: int
    member: int
    seed: int
    subsample: int


class _Plan(NamedTuple):
    """One run of an exploration: of a structure, for a subsample, from a frame, with the frames it may give at most."""

    k: int
    subsample: int
    structure: Frame
    start: Frame
    share: int


class LearningRound:
    """One round in the loop's folder.

    Parameters
    ----------
    config : LearnConfig
        Settings.
    number : int
        Of the round, from 0.
    structures : sequence of Frame
        Structures that the loop began with.
    say : callable
        Called with a line on what is being done.
    """

    def __init__(
        self, config: LearnConfig, number: int, structures: Sequence[Frame], say: Callable[[str], None]
    ) -> None:
        self._config, self._number, self._structures, self._say = config, number, structures, say
        self._files = LearningFolder(config.folder)
        self._seconds: dict[str, float] = {}

    def train(self) -> Ensemble:
        """Fit all members, and load them."""
        began, ensemble = time.monotonic(), self._config.ensemble
        count = ensemble.members
        fits = [MemberFit(self._number, k, ensemble.seed + k, k % ensemble.subsamples) for k in range(count)]
        left = [fit for fit in fits if not self._marker(fit).exists()]
        self._say(f"round {self._number}: train {len(left)} of {count} members")
        if ensemble.processes > 1 and len(left) > 1:
            with ProcessPoolExecutor(ensemble.processes, mp_context=get_context("spawn")) as pool:
                list(pool.map(fit_member, [self._config] * len(left), left))
        else:
            for fit in left:
                fit_member(self._config, fit)
        self._seconds["train"] = time.monotonic() - began
        return load_ensemble(self._config, self._number)

    def _marker(self, fit: MemberFit) -> Any:
        return self._files.member(fit.number, fit.member) / "done.json"

    def test(self, ensemble: Ensemble) -> EnsembleErrors:
        """Errors on the test set."""
        return ensemble_errors(ensemble, self._test, self._config.explore)

    @cached_property
    def _test(self) -> list[LabelledFrame]:
        """The test set."""
        return self._files.frames("test")

    @cached_property
    def _closest(self) -> dict[tuple[int, int], float]:
        """Shortest distances of the initial frames; in later ones, the last credible frames come nearer and nearer."""
        return shortest_distances([item.frame for item in self._files.frames("initial")], NEAR)

    def explore(self, ensemble: Ensemble, tested: EnsembleErrors) -> list[LabelledFrame]:
        """Choose frames; without labels, and each with a trajectory's name that tells where it comes from."""
        place = self._files.round(self._number)
        began = time.monotonic()
        if not (place / "exploration.json").exists():
            chosen: list[LabelledFrame] = []
            runs = []
            for plan in self._plans():
                self._say(f"round {self._number}: explore structure {plan.k + 1}, run {plan.subsample + 1}")
                found = self._run(ensemble, tested, plan)
                if found.reason and not found.considered and plan.start is not plan.structure:
                    # The frame with the largest error may lie outside physics, where even the reference heats up.
                    self._say(f"round {self._number}: {found.reason} at once; explore from the structure instead")
                    found = self._run(ensemble, tested, plan._replace(start=plan.structure))
                name = f"round {self._number}, structure {plan.k}, run {plan.subsample}"
                chosen += [LabelledFrame(c.frame, trajectory=f"{c.source}: {name}") for c in found.candidates]
                runs.append(_as_record(found))
            if not chosen and all(run["reason"] for run in runs):
                raise InputError(
                    f"round {self._number}: every run left physics before a frame could be chosen "
                    f"({runs[0]['reason']}); give more initial frames, or a shorter explore.timestep"
                )
            write_labelled(place / "candidates.xyz", chosen)
            write_json(place / "exploration.json", {"runs": runs, "seconds": time.monotonic() - began})
        self._seconds["explore"] = read_json(place / "exploration.json")["seconds"]
        return self._files.read(place / "candidates.xyz")

    def _plans(self) -> list[_Plan]:
        """Runs of this round; what is left of the budget of labels is shared out among them."""
        n_subsamples, budget = self._config.ensemble.subsamples, self._config.stop.labels
        count, most = n_subsamples * len(self._structures), self._config.explore.samples + 1
        left = most * count if budget is None else max(0, budget - len(self._files.training_frames(self._number)))
        shares = [min(most, left // count + (run < left % count)) for run in range(count)]
        pairs = list(zip(self._structures, self._starts(), strict=True))
        plans = [
            _Plan(run // n_subsamples, run % n_subsamples, *pairs[run // n_subsamples], shares[run])
            for run in range(count)
        ]
        return [plan for plan in plans if plan.share]

    def _run(self, ensemble: Ensemble, tested: EnsembleErrors, plan: _Plan) -> Exploration:
        """One run, with the statistics of the test frames that have the structure's atoms."""
        config, test, structure = self._config, self._test, plan.structure
        same = [i for i, item in enumerate(test) if np.array_equal(item.frame.numbers, structure.numbers)]
        rule = AcceptanceRule.of_test_set(tested.uncertainties[same].tolist(), tested.mean_energies[same].tolist())
        rule = self._heated(rule, structure.n_atoms)
        credibility = Credibility(self._closest, config.explore.temperature, rule.mean_energy, rule.std_energy)
        tracker = self._tracker(structure, plan.k)
        watch = None if tracker is None else partial(_track, tracker)
        settings = replace(config.explore, samples=min(config.explore.samples, plan.share))
        found = Explorer(ensemble, rule, credibility, settings, watch).run(
            plan.start, [config.ensemble.seed, self._number, plan.k, plan.subsample]
        )
        found.candidates = found.candidates[-plan.share :]  # a last credible frame comes in addition, and matters most
        if tracker is not None and found.considered > 1:
            events = tracker.finish()
            found.events = {kind: len(events.of_kind(kind)) for kind in KINDS}
        return found

    def _tracker(self, structure: Frame, k: int) -> SiteTracker | None:
        """Counter of events of a crystal; None where no events are asked for."""
        if not self._config.explore.events or not all(structure.pbc):
            return None
        sites = read_structures([self._config.sites[k]])[0] if self._config.sites else structure
        labels = [chemical_symbols[z] for z in structure.numbers]
        return SiteTracker(LatticeSites.of_frame(sites), labels)

    def _heated(self, rule: AcceptanceRule, n_atoms: int) -> AcceptanceRule:
        """The rule at the temperature of the exploration, where the test set has another."""
        hot, cold = self._config.explore.temperature, self._config.start.temperature
        return rule.at_temperature(hot / cold, 1.5 * (n_atoms - 1) * BOLTZMANN * (hot - cold))

    def _starts(self) -> list[Frame]:
        """Frames to start from: of the last round's samples that with the largest error, for each structure."""
        starts = list(self._structures)
        if not self._number:
            return starts
        worst = read_json(self._files.round(self._number - 1) / "round.json")["worst"]
        before = self._files.frames(f"round-{self._number - 1:03d}")
        for k, index in enumerate(worst):
            if index is not None:
                starts[k] = before[index].frame
        return starts

    def label(self, chosen: list[LabelledFrame], labeller: Labeller) -> list[str]:
        """Label frames and add them to the data set; what failed, in words."""
        place, began = self._files.round(self._number), time.monotonic()
        self._say(f"round {self._number}: label {len(chosen)} frames")
        answers = labeller.label([item.frame for item in chosen], place / "labels")
        good, failures = [], []
        for number, (item, answer) in enumerate(zip(chosen, answers, strict=True)):
            if "failure" in answer:
                failures.append(f"frame {number}: {answer['failure']}")
            else:
                good.append(labelled(item.frame, answer, item.trajectory))
        write_labelled(self._files.data(f"round-{self._number:03d}"), good)
        self._seconds["label"] = time.monotonic() - began
        return failures

    def record(self, ensemble: Ensemble, tested: EnsembleErrors, failures: list[str] | None) -> dict[str, Any]:
        """Write the record of the round; without exploration (None) it is the last."""
        new = [] if failures is None else self._files.frames(f"round-{self._number:03d}")
        found = ensemble_errors(ensemble, new, self._config.explore) if new else None
        everything = self._files.training_frames(self._number) + new
        uncertainties = tested.uncertainties
        record: dict[str, Any] = {
            "round": self._number,
            "labels": {
                "total": len(everything),
                "new": len(new),
                "failed": len(failures or []),
                "failures": failures or [],
            },
            "composition": composition_of(everything),
            "test": tested.rmse(),
            "new": None if found is None else found.rmse(),
            "uncertainty": {
                "mean": float(uncertainties.mean()),
                "std": float(uncertainties.std(ddof=1)),
                "flux": flux_spread(ensemble, self._test),
            },
            "calibration": {"uncertainty": [], "error": []} if found is None else found.calibration(),
            "exploration": self._explored(),
            "events": self._events(),
            "worst": self._worst(new, found),
            "seconds": self._seconds,
        }
        write_json(self._files.round(self._number) / "round.json", record)
        return record

    def _explored(self) -> dict[str, Any] | None:
        path = self._files.round(self._number) / "exploration.json"
        if not path.exists():
            return None
        runs = read_json(path)["runs"]
        total = {name: sum(run[name] for run in runs) for name in ("time", "considered", "accepted", "energy_rejected")}
        reasons = [f"run {k}: {run['reason']}" for k, run in enumerate(runs) if run["reason"]]
        return {**total, "frames": total["considered"], "blow_ups": len(reasons), "reasons": reasons}

    def _events(self) -> dict[str, int] | None:
        path = self._files.round(self._number) / "exploration.json"
        counts = [run["events"] for run in read_json(path)["runs"] if run["events"]] if path.exists() else []
        return {f"{kind}s": sum(count[kind] for count in counts) for kind in KINDS} if counts else None

    def _worst(self, new: list[LabelledFrame], found: EnsembleErrors | None) -> list[int | None]:
        """For each structure, the new frame of its atoms with the largest error of a force."""
        worst: list[int | None] = []
        for structure in self._structures:
            same = [i for i, item in enumerate(new) if np.array_equal(item.frame.numbers, structure.numbers)]
            largest = [0.0 if found is None else float(found.force_errors[i].max()) for i in same]
            worst.append(same[int(np.argmax(largest))] if same else None)
        return worst


def load_ensemble(config: LearnConfig, number: int) -> Ensemble:
    """The members of a round, from their files."""
    files, trainer = LearningFolder(config.folder), make_trainer(config)
    return Ensemble([trainer.load(files.member(number, k)) for k in range(config.ensemble.members)])


def make_trainer(config: LearnConfig) -> Trainer:
    """The trainer of the settings."""
    if not config.trainer:
        return OwnTrainer(config.model, config.weights, config.fit, config.epochs)
    factory = load_entry(config.trainer, str(config.source.parent), "train.trainer")
    try:
        return require_trainer(factory(**config.trainer_options), config.trainer)
    except FluxanError:
        raise
    except Exception as error:  # a user's module may raise anything
        raise InputError(f"train.trainer: {config.trainer} failed ({type(error).__name__}: {error})") from error


def fit_member(config: LearnConfig, fit: MemberFit) -> None:
    """Fit one member, on all frames but those of its subsample, which validate it."""
    import torch

    torch.set_num_threads(1)
    files = LearningFolder(config.folder)
    frames = files.training_frames(fit.number)
    parts = config.ensemble.subsamples
    train = [item for k, item in enumerate(frames) if k % parts != fit.subsample]
    held = [item for k, item in enumerate(frames) if k % parts == fit.subsample]
    folder = files.member(fit.number, fit.member)
    start = files.member(fit.number - 1, fit.member) if fit.number else None
    make_trainer(config).fit(train, held, folder=folder, seed=fit.seed, start=start)
    write_json(folder / "done.json", {"frames": len(train), "validation": len(held)})


def _track(tracker: SiteTracker, time: float, frame: Frame) -> None:
    tracker.update(frame.replace(time=time))


def _as_record(found: Exploration) -> dict[str, Any]:
    return {
        "time": found.time,
        "considered": found.considered,
        "accepted": found.accepted,
        "energy_rejected": found.energy_rejected,
        "reason": found.reason,
        "events": found.events,
    }
