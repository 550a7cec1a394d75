"""Settings of an exploration."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fluxan.errors import InputError
from fluxan.training.setting_tables import require_count, require_positive

#: Ways to choose frames: the published probability, a threshold of the uncertainty, and at random, for comparison.
RULES = ("published", "threshold", "random")
#: Which spread between the members counts as uncertainty.
UNCERTAINTIES = ("forces", "flux")
ENSEMBLES = ("nvt", "nve")


@dataclass(frozen=True, slots=True)
class ExploreSettings:
    """How an ensemble explores.

    Attributes
    ----------
    temperature : float
        K.
    time : float
        Length of each run, ps, unless it has its samples before.
    samples : int
        Frames that are chosen from each run, at most.
    timestep : float
        fs.
    ensemble : {"nvt", "nve"}
        Langevin thermostat, or constant energy.
    friction : float
        Of the thermostat, 1/ps.
    spacing : float
        Shortest time between chosen frames, ps; frames are considered at this interval.
    rule : {"published", "threshold", "random"}
        See `fluxan.active.acceptance`; "random" takes frames whatever their uncertainty.
    uncertainty : {"forces", "flux"}
        The largest spread of an atom's force, eV/Å, or the largest spread of a carrier's heat flux, eV Å/ps.
    threshold : float or None
        For the rule of that name, in the unit of the uncertainty.
    energies : bool
        Whether the published rule rejects frames of high energy (P_E).
    events : bool
        Whether hops between lattice sites and defects are counted along the runs.
    """

    temperature: float
    time: float = 20.0
    samples: int = 25
    timestep: float = 2.0
    ensemble: str = "nvt"
    friction: float = 2.0
    spacing: float = 0.1
    rule: str = "published"
    uncertainty: str = "forces"
    threshold: float | None = None
    energies: bool = True
    events: bool = True

    def __post_init__(self) -> None:
        """Check every setting."""
        for name in ("temperature", "time", "timestep", "friction", "spacing"):
            require_positive(getattr(self, name), f"explore.{name}")
        require_count(self.samples, "explore.samples", 1)
        known = (("rule", RULES), ("uncertainty", UNCERTAINTIES), ("ensemble", ENSEMBLES))
        for name, choices in known:
            if getattr(self, name) not in choices:
                raise InputError(f"explore.{name} is {getattr(self, name)!r}; expected one of {', '.join(choices)}")
        if (self.rule == "threshold") != (self.threshold is not None):
            raise InputError("explore.threshold goes with explore.rule = 'threshold', and that rule needs it")
        if self.threshold is not None and not 0 < self.threshold < math.inf:
            raise InputError(f"explore.threshold is {self.threshold!r}; expected a positive number")
        if self.steps_between < 1 or self.time < self.spacing:
            raise InputError("explore: timestep must be below spacing, and spacing below time")

    @property
    def steps_between(self) -> int:
        """Time steps between considered frames."""
        return round(1e3 * self.spacing / self.timestep)

    @property
    def n_considered(self) -> int:
        """Frames that a whole run considers."""
        return int(self.time / self.spacing + 1e-9)
