"""Decides when a run may stop, because the error of its conductivity is small enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxan.errors import FluxanError, ShortRunError
from fluxan.greenkubo import green_kubo
from fluxan.greenkubo.driven import DrivenConductivity, driven_conductivity
from fluxan.md.md_settings import milestones

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.greenkubo import Conductivity
    from fluxan.md.md_run import MdRun
    from fluxan.md.md_settings import MdSettings

    #: A conductivity, or None and the reason why there is none.
    Estimate = tuple[Conductivity | DrivenConductivity | None, str]


class RunningConductivity:
    """The conductivity of a run so far, at its milestones.

    Parameters
    ----------
    settings : MdSettings
        Settings of the run.
    goal : float or None
        Relative standard error of κ at which the run may stop; None lets it run to its end.

    Attributes
    ----------
    result : Conductivity or DrivenConductivity or None
        Result at the last milestone; None where there is none yet.
    reason : str
        Reason why there is no result.
    reached : bool
        Whether the error is below the goal.
    """

    def __init__(self, settings: MdSettings, goal: float | None) -> None:
        self.goal = goal
        self.result: Conductivity | DrivenConductivity | None = None
        self.reason = ""
        self.reached = False
        self._milestones = set(milestones(settings))

    @property
    def finished(self) -> bool:
        """Whether the run may stop."""
        return self.reached

    def _estimate(self, path: Path) -> Estimate:
        return running_kappa(path)

    def update(self, run: MdRun) -> bool:
        """Estimate κ if the run has reached a milestone, and return whether it has."""
        if run.n_frames not in self._milestones:
            return False
        self.result, self.reason = self._estimate(run.output)
        if self.goal is not None and self.result is not None:
            self.reached = self.result.error < self.goal * abs(self.result.kappa)
        return True


class RunningDrivenConductivity(RunningConductivity):
    """The conductivity of a run under a driving force so far.

    Parameters
    ----------
    settings, goal
        See `RunningConductivity`.
    watch : bool
        Stop where the response proves nonlinear: nonlinearity may build up more slowly than any check of linearity
        lasts.

    Attributes
    ----------
    nonlinear : str
        Evidence for nonlinearity for which the run is to be stopped; empty where there is none.
    """

    def __init__(self, settings: MdSettings, goal: float | None, *, watch: bool) -> None:
        super().__init__(settings, goal)
        self.nonlinear = ""
        self._watch = watch

    @property
    def finished(self) -> bool:
        """Whether the run may stop."""
        return self.reached or bool(self.nonlinear)

    def _estimate(self, path: Path) -> Estimate:
        try:
            return driven_conductivity(path), ""
        except ShortRunError:
            return None, "too short yet for κ"

    def update(self, run: MdRun) -> bool:
        """Estimate κ if the run has reached a milestone, and return whether it has."""
        if not super().update(run):
            return False
        if isinstance(self.result, DrivenConductivity):
            # A mean that has not become steady may be far off, however small its scatter.
            self.reached = self.reached and not self.result.warnings
            self.nonlinear = self.result.nonlinear if self._watch else ""
        return True


def running_kappa(path: Path) -> Estimate:
    """Conductivity of a flux file that is being written, or the reason why there is none."""
    try:
        return green_kubo(path, compare=()), ""
    except ShortRunError:
        return None, "too short yet for κ"
    except FluxanError as error:
        return None, str(error)
