"""Choice of the strength of the flux term from its power and the errors of energies, forces and virials.

As the strength grows, the flux power first falls because directions that the data leave open are decided, then hardly
changes, the *plateau*, and falls again at the expense of the data. What lies beyond the plateau is flux that the
material has. Errors alone do not see its end: the power at high frequencies can fall much while no error rises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: On a plateau the power changes by less than this power of the strength.
MAX_PLATEAU_SLOPE = 0.05


@dataclass(frozen=True, slots=True)
class StrengthEstimate:
    """A strength of the flux term and what it was chosen from.

    Attributes
    ----------
    strength : float
        p_Q, 1/(eV Å/ps)² times the unit of the loss.
    kind : {"plateau", "knee", "falling", "none", "too strong"}
        Whether the flux power has a plateau there, falls slowest there, falls steeply up to where the errors end the
        range, or does not fall at all; or whether some error exceeds its spread at the smallest strength already.
    largest : float
        Largest strength at which every error is within its spread; 0 if there is none.
    limiting : str
        Term whose error leaves its spread first; empty if none does.
    power : float
        Flux power at the strength over that without the term.
    """

    strength: float
    kind: str
    largest: float
    limiting: str
    power: float

    def __str__(self) -> str:
        """One sentence for reports."""
        change = f"the flux power is {self.power:.3g} times that without the term"
        limit = (
            f"; beyond {self.largest:.3g} the error of the {self.limiting} leaves its spread" if self.limiting else ""
        )
        begin_lower = f"the error of the {self.limiting} exceeds its spread there already, begin lower; {change}"
        if self.kind == "too strong":
            return f"strength {self.strength:.3g}, the smallest: {begin_lower}"
        reasons = {
            "plateau": f"end of the plateau, {change}",
            "knee": f"the flux power falls slowest there and has no plateau, {change}",
            "falling": f"the flux power still falls there, {change}",
            "none": f"the flux power does not fall as long as the errors stay within their spread, {change}",
        }
        return f"strength {self.strength:.3g}: {reasons[self.kind]}{limit}"


def choose_strength(
    strengths: np.ndarray,
    power: np.ndarray,
    errors: Mapping[str, np.ndarray],
    baseline: Mapping[str, float],
    spread: Mapping[str, float],
    *,
    unregularised: float,
) -> StrengthEstimate:
    """Choose the largest strength that has removed what the data leave open, at no cost to the data.

    Parameters
    ----------
    strengths : (n,) array
        Ascending, in even steps of their logarithm.
    power : (n,) array
        Flux power at each strength.
    errors : mapping of str to (n,) array
        RMSE of energy, forces and virial at each strength.
    baseline, spread : mapping of str to float
        RMSE of each term without the flux term, and its spread over seeds or resampled training sets.
    unregularised : float
        Flux power without the flux term.

    Returns
    -------
    StrengthEstimate

    Raises
    ------
    InputError
        There are fewer than three strengths.
    """
    if len(strengths) < 3:
        raise InputError(f"{len(strengths)} strengths are too few to see a plateau; give three or more")
    # Errors: the strengths, from the smallest up, at which every error is within its spread.
    within = np.ones(len(strengths), dtype=bool)
    first = {}
    for name, values in errors.items():
        exceeded = np.flatnonzero(np.asarray(values) > baseline[name] + spread[name])
        if len(exceeded):
            first[name] = int(exceeded[0])
            within[exceeded[0] :] = False
    limiting = min(first, key=first.__getitem__) if first else ""
    if not within.any():
        return StrengthEstimate(float(strengths[0]), "too strong", 0.0, limiting, float(power[0] / unregularised))
    last = int(np.flatnonzero(within)[-1])
    index, kind = _plateau(np.log(strengths), np.log(power), last, float(np.log(unregularised)))
    return StrengthEstimate(
        float(strengths[index]), kind, float(strengths[last]), limiting, float(power[index] / unregularised)
    )


def _plateau(log_strength: np.ndarray, log_power: np.ndarray, last: int, start: float) -> tuple[int, str]:
    """Index of the end of the plateau up to `last`; without one, of the slowest fall after the steepest."""
    # A plateau counts after the first fall only: before it the term is too weak to act.
    fallen = np.flatnonzero(start - log_power > np.log(1 + MAX_PLATEAU_SLOPE))
    if not len(fallen) or fallen[0] > last:
        return last, "none"
    first = int(fallen[0])
    slopes = -np.gradient(log_power, log_strength)
    flat = [k for k in range(first, last + 1) if slopes[k] < MAX_PLATEAU_SLOPE]
    if flat:
        return flat[-1], "plateau"
    # The fall up to each strength from the one before, since the one behind may be beyond what the errors allow.
    falls = -np.diff(log_power, prepend=start) / np.gradient(log_strength)
    steepest = first + int(np.argmax(falls[first : last + 1]))
    if steepest == last:
        return last, "falling"
    return steepest + 1 + int(np.argmin(falls[steepest + 1 : last + 1])), "knee"
