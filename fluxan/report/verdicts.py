"""Sentences of a report: temperature, contributions by carrier, and evidence for and against the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fluxan.greenkubo.diagnostics import MIN_RUN_DECAY_TIMES
from fluxan.rounding import value_and_error as value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxan.greenkubo import Conductivity
    from fluxan.greenkubo.driven import DrivenConductivity

    from .study import Study


#: Relative change of the temperature over a run below which it counts as constant.
_MAX_TEMPERATURE_DRIFT: Final = 0.01


@dataclass(frozen=True)
class Verdict:
    """A sentence for (`good`) or against the result."""

    good: bool
    text: str


def signed(number: float) -> str:
    """A number with its sign, typeset with a minus sign."""
    return f"{number:+.3g}".replace("-", "−")


def unit(result: Conductivity | DrivenConductivity) -> str:
    """Unit as it follows a number, with the space between; empty for reduced units."""
    return "" if result.unit == "reduced" else f" {result.unit}"


def temperature(result: Conductivity | DrivenConductivity) -> str:
    """Temperature with its error and unit."""
    kelvin = "" if result.unit == "reduced" else " K"
    number = f"{result.temperature:.5g}" if not result.temperature_error else ""
    return (number or value(result.temperature, result.temperature_error)) + kelvin


def direction(result: DrivenConductivity) -> str:
    """Unit vector along the driving force."""
    return "(" + " ".join(f"{x:.3g}" for x in result.driving_force / result.strength).replace("-", "−") + ")"


def carriers(result: Conductivity | DrivenConductivity) -> str:
    """Contribution by carrier as one sentence; empty for a single carrier."""
    if len(result.labels) < 2:
        return ""
    first, *others = (
        (label, f"{100 * part / result.kappa:.0f} %")
        for label, part in zip(result.labels, result.by_carrier, strict=True)
    )
    return f"{first[0]} carries {first[1]} of it, " + ", ".join(f"{label} {part}" for label, part in others) + "."


def verdicts(study: Study) -> list[Verdict]:
    """All evidence against the result, then all evidence for it."""
    result = study.result
    bad = [Verdict(good=False, text=sentence(warning)) for warning in result.warnings]
    return bad + [Verdict(good=True, text=text) for text in _good(study)]


def _good(study: Study) -> Iterator[str]:
    result, run = study.result, study.result.diagnostics
    time = "" if result.unit == "reduced" else " ps"
    if run.length_over_slowest >= MIN_RUN_DECAY_TIMES:
        yield (
            f"The run is long enough: {run.length:.4g}{time}, {run.length_over_slowest:.3g} times the slowest motion "
            f"seen in the flux ({run.slowest:.3g}{time}); {MIN_RUN_DECAY_TIMES} times are needed."
        )
    others = [name for name in result.estimates if name not in {result.method, "running"}]
    if others and not any("disagree" in warning for warning in result.warnings):
        yield f"The estimators agree within two standard deviations: {result.method} and {', '.join(others)}."
    if run.temperature_drift is not None and abs(run.temperature_drift) < _MAX_TEMPERATURE_DRIFT * result.temperature:
        yield (
            f"The temperature is constant: it changes by {run.temperature_drift / result.temperature:.1%} over the run."
        )
    if run.diffusion is not None and not run.diffusing:
        yield "No species diffuses, so that there is no mass flux to correct for."
    yield from (sentence(note) for note in result.notes)
    if study.gauge is not None:
        yield (
            f"Without the mean virial, which carries no heat in a solid, κ = "
            f"{value(study.gauge.kappa, study.gauge.error)}{unit(result)}."
        )


def sentence(text: str) -> str:
    """A text with a capital at its start and a full stop at its end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")
