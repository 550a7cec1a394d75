"""Explores with the mean of an ensemble: molecular dynamics, from which frames are chosen for a label.

A run depends on its start, its models and its seed alone, so that one that was interrupted is repeated to the same
frames. It ends when it has its samples, when its time is over, or when it has left physics; the last credible frame
before that is chosen too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from fluxan.active.ensemble_calculator import EnsembleCalculator
from fluxan.errors import FluxanError
from fluxan.md.ase.calculator import frame_of_atoms
from fluxan.md.ase.momenta import draw_momenta
from fluxan.trajectory.labelled_writer import rounded
from fluxan.trajectory.memory import atoms_of_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

    from fluxan.active.acceptance import AcceptanceRule
    from fluxan.active.credibility import Credibility
    from fluxan.active.ensemble import Ensemble
    from fluxan.active.explore_settings import ExploreSettings
    from fluxan.system import Frame

#: Time steps between looks at whether a run is still physics.
_CHECK_EVERY = 10
#: Sources of chosen frames.
EXPLORATION, LAST_CREDIBLE = "exploration", "last credible"


class ChosenFrame(NamedTuple):
    """A frame that was chosen for a label.

    Attributes
    ----------
    frame : Frame
        With velocities; positions are rounded to what the data set's files hold.
    source : str
        `EXPLORATION` or `LAST_CREDIBLE`.
    uncertainty : float
        eV/Å or eV Å/ps.
    """

    frame: Frame
    source: str
    uncertainty: float


@dataclass
class Exploration:
    """What one run found.

    Attributes
    ----------
    candidates : list of ChosenFrame
        In the order of time.
    time : float
        ps.
    considered, accepted, energy_rejected : int
        Frames that were considered, chosen, and sure to be chosen but for their energy.
    reason : str
        Why the run left physics; empty if it did not.
    events : dict of str to int or None
        Number of events of each kind, where they were counted.
    """

    candidates: list[ChosenFrame] = field(default_factory=list)
    time: float = 0.0
    considered: int = 0
    accepted: int = 0
    energy_rejected: int = 0
    reason: str = ""
    events: dict[str, int] | None = None


class Explorer:
    """One run of molecular dynamics.

    Parameters
    ----------
    ensemble : Ensemble
        Its mean drives the run.
    rule : AcceptanceRule
        Statistics of the test set.
    credibility : Credibility
        Limits of what is believed.
    settings : ExploreSettings
        Temperature, times and rule.
    watch : callable, optional
        Called with time, ps, and frame at every considered frame, for detectors of events.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        rule: AcceptanceRule,
        credibility: Credibility,
        settings: ExploreSettings,
        watch: Callable[[float, Frame], None] | None = None,
    ) -> None:
        self._ensemble, self._rule, self._credibility, self._settings = ensemble, rule, credibility, settings
        self._watch = watch

    def run(self, start: Frame, seed: list[int]) -> Exploration:
        """Explore from a frame; its velocities are drawn anew.

        Parameters
        ----------
        start : Frame
            Positions and cell.
        seed : list of int
            Of momenta, thermostat and choice.
        """
        # Two streams of random numbers, so that every rule of choice sees the same dynamics.
        random, choice = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
        settings, found = self._settings, Exploration()
        calculator = EnsembleCalculator(self._ensemble)
        atoms = atoms_of_frame(start)
        atoms.calc = calculator
        draw_momenta(atoms, settings.temperature, random)
        dynamics = self._dynamics(atoms, random)
        kept = _Kept(settings.samples, choice, at_random=settings.rule == "random")
        while found.considered < settings.n_considered and not kept.full:
            found.reason = self._advance(dynamics, atoms, kept)
            found.time += settings.spacing
            if found.reason:
                break
            found.considered += 1
            self._consider(atoms, calculator, found, kept, choice)
        found.candidates = kept.candidates(self._ensemble, failed=bool(found.reason))
        found.accepted = sum(c.source == EXPLORATION for c in found.candidates)
        return found

    def _dynamics(self, atoms: Atoms, random: np.random.Generator) -> Any:
        settings = self._settings
        timestep = settings.timestep * units.fs
        if settings.ensemble == "nve":
            return VelocityVerlet(atoms, timestep=timestep)
        friction = settings.friction / (1e3 * units.fs)
        return Langevin(
            atoms, timestep=timestep, temperature_K=settings.temperature, friction=friction, fixcm=False, rng=random
        )

    def _advance(self, dynamics: Any, atoms: Atoms, kept: _Kept) -> str:
        """Run to the next considered frame; why the run has left physics, or an empty text."""
        left = self._settings.steps_between
        while left > 0:
            steps = min(_CHECK_EVERY, left)
            try:
                dynamics.run(steps)
                reason = self._credibility.reason_against(atoms, atoms.get_potential_energy())
            except (FluxanError, FloatingPointError, ValueError) as error:
                reason = str(error)
            if reason:
                return reason
            kept.last_credible = rounded(frame_of_atoms(atoms))
            left -= steps
        return ""

    def _consider(
        self,
        atoms: Atoms,
        calculator: EnsembleCalculator,
        found: Exploration,
        kept: _Kept,
        random: np.random.Generator,
    ) -> None:
        settings, frame = self._settings, frame_of_atoms(atoms)
        if self._watch is not None:
            self._watch(found.time, frame)
        energy = atoms.get_potential_energy()
        uncertainty = uncertainty_of(self._ensemble, frame, settings, calculator)
        if settings.rule == "random":
            kept.offer(ChosenFrame(rounded(frame), EXPLORATION, uncertainty))
            return
        if settings.rule == "threshold":
            accept = settings.threshold is not None and uncertainty > settings.threshold
        else:
            draw = random.random()
            accept = draw < self._rule.probability(uncertainty, energy if settings.energies else -np.inf)
            without = draw < self._rule.probability(uncertainty, -np.inf)
            found.energy_rejected += without and not accept
        if accept:
            kept.offer(ChosenFrame(rounded(frame), EXPLORATION, uncertainty))


class _Kept:
    """Frames that a run keeps: the first ones accepted, or a uniform choice of all that were considered."""

    def __init__(self, samples: int, random: np.random.Generator, *, at_random: bool) -> None:
        self.last_credible: Frame | None = None
        self._samples, self._random, self._at_random = samples, random, at_random
        self._chosen: list[tuple[int, ChosenFrame]] = []
        self._offered = 0

    @property
    def full(self) -> bool:
        """Whether nothing more is needed."""
        return not self._at_random and len(self._chosen) >= self._samples

    def offer(self, candidate: ChosenFrame) -> None:
        """Keep a candidate; of those at random, each of all offered with equal probability (reservoir sampling)."""
        entry = (self._offered, candidate)
        self._offered += 1
        if len(self._chosen) < self._samples:
            self._chosen.append(entry)
        elif self._at_random:
            place = int(self._random.integers(self._offered))
            if place < self._samples:
                self._chosen[place] = entry

    def candidates(self, ensemble: Ensemble, *, failed: bool) -> list[ChosenFrame]:
        """Chosen frames in the order of time, and the last credible one of a run that has failed."""
        chosen = [candidate for _, candidate in sorted(self._chosen, key=lambda entry: entry[0])]
        last = self.last_credible
        if chosen and last is not None and np.array_equal(chosen[-1].frame.positions, last.positions):
            return chosen
        if failed and last is not None:
            spread = float(ensemble.evaluate(last).force_spread.max())
            chosen.append(ChosenFrame(last, LAST_CREDIBLE, spread))
        return chosen


def uncertainty_of(
    ensemble: Ensemble, frame: Frame, settings: ExploreSettings, calculator: EnsembleCalculator | None = None
) -> float:
    """Uncertainty of a frame: the largest spread of an atom's force, eV/Å, or of a carrier's flux, eV Å/ps.

    Parameters
    ----------
    ensemble : Ensemble
        The members.
    frame : Frame
        With velocities, for the flux.
    settings : ExploreSettings
        Says which spread counts.
    calculator : EnsembleCalculator, optional
        Holds the forces at these positions already.
    """
    if settings.uncertainty == "flux":
        return float(ensemble.evaluate(frame, flux=True).flux_spread.max())
    known = None if calculator is None else calculator.prediction
    prediction = ensemble.evaluate(frame) if known is None else known
    return float(prediction.force_spread.max())
