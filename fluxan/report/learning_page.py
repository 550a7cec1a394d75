"""The page of active learning: one self-contained HTML file on all rounds."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.active.calibration import ForceCalibration
from fluxan.active.round_table import duration, number, quantity, status_rows
from fluxan.errors import OutputError

from . import learning_figure as figure
from .figures import Plot
from .sections import marked, section
from .template import LEARNING_PAGE, LEARNING_STYLE, STYLE
from .verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Rounds = Sequence[Mapping[str, Any]]


def write_learning_page(rounds: Rounds, settings: Mapping[str, Any], output: str | Path) -> None:
    """Write the page.

    Parameters
    ----------
    rounds, settings
        See `learning_page`.
    output : str or Path
        HTML file; an existing one is replaced.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    text = learning_page(rounds, settings)
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error.strerror or error}") from error


def learning_page(rounds: Rounds, settings: Mapping[str, Any]) -> str:
    """HTML of the page.

    Parameters
    ----------
    rounds : sequence of mapping
        One record a round, as read from JSON; empty before the first round has ended.
    settings : mapping
        ``status``, "running", "converged" or "budget spent"; ``tolerance``, the relative range of the last three
        force errors of new frames at which the loop has converged; ``name`` of the system; ``reference``, how frames
        are labelled.
    """
    drawn = [(plot, plot.figure()) for plot in plots(rounds, settings)]
    return LEARNING_PAGE.substitute(
        title=escape(f"Active learning of {settings.get('name') or 'a potential'}"),
        style=STYLE + LEARNING_STYLE,
        headline=escape(_headline(rounds, str(settings.get("status", "running")))),
        state=escape(_state(rounds, settings)),
        verdicts="\n".join(marked(verdict) for verdict in verdicts(rounds)),
        table=_table(rounds),
        plots="\n".join(section(*pair) for pair in drawn),
        failures=_failures(rounds),
        facts="\n".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in _facts(rounds, settings)),
    )


def _headline(rounds: Rounds, status: str) -> str:
    done = _plural(len(rounds), "round")
    known = {
        "running": f"Running: {done} done" if rounds else "Running: no round is done yet",
        "converged": f"Converged after {done}",
        "budget spent": f"Budget spent after {done}, not converged",
    }
    return known.get(status, f"{status}: {done}")


def _state(rounds: Rounds, settings: Mapping[str, Any]) -> str:
    reference = f"Reference: {settings['reference']}. " if settings.get("reference") else ""
    if not rounds:
        return reference + "Errors, uncertainties and labels appear here when the first round ends."
    last = rounds[-1]
    return (
        f"{reference}{_plural(quantity(last, 'labels', 'total'), 'label')}; RMSE on "
        f"{_plural(quantity(last, 'test', 'n_frames'), 'test frame')} after the last round: forces "
        f"{number(1e3 * quantity(last, 'test', 'forces'))}\u00a0meV/Å, "
        f"energy {number(1e3 * quantity(last, 'test', 'energy'))}\u00a0meV/atom."
    )


def verdicts(rounds: Rounds) -> list[Verdict]:
    """Sentences on calibration, the frames of the last round, failed labels and blow-ups."""
    if not rounds:
        return []
    pooled, last = ForceCalibration.of_rounds(rounds), rounds[-1]
    found = [Verdict(pooled.calibrated, pooled.statement)] if len(pooled) else []
    new, test = (quantity(last, part, "forces") for part in ("new", "test"))
    if new > 0 and test > 0:
        text = f"In the last round, the force error of new frames was {new / test:.2g} times that of the test set"
        near = new < 2 * test
        text += "." if near else ": the exploration still finds frames that the model does not know."
        found.append(Verdict(near, text))
    failed = sum(np.nan_to_num(quantity(record, "labels", "failed")) for record in rounds)
    if failed:
        found.append(Verdict(good=False, text=f"{_plural(failed, 'frame')} could not be labelled; reasons are below."))
    blow_ups = np.nan_to_num(quantity(last, "exploration", "blow_ups"))
    if blow_ups:
        text = f"{_plural(blow_ups, 'exploration')} of the last round became unstable."
        found.append(Verdict(good=False, text=text))
    return sorted(found, key=lambda verdict: verdict.good)


def _table(rounds: Rounds) -> str:
    if not rounds:
        return ""
    header, rows = status_rows(rounds)
    titles = (escape(name).replace(" (", "<br>(").replace("/Å", "/\u2060Å").replace("/s", "/<wbr>s") for name in header)
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        '<h2 id="rounds">Rounds</h2><div class="scroll" role="region" aria-labelledby="rounds" tabindex="0">'
        f'<table class="numbers"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'
        '<p class="note">RMSE is that of the mean of the ensemble on the test set after the round; new frames are '
        "compared with their labels before they are trained on. Spread: largest force spread of an atom of each "
        "test frame, mean ± standard deviation. Error/spread: ratio of the root mean squares over atoms of the new "
        "frames. A dash means that there is no number.</p>"
    )


def plots(rounds: Rounds, settings: Mapping[str, Any]) -> Iterator[Plot]:
    """All plots for which the rounds have data, in the order of the page."""
    if not rounds:
        return
    yield _errors(rounds, settings.get("tolerance"))
    yield _uncertainty(rounds)
    pooled = ForceCalibration.of_rounds(rounds)
    if len(pooled):
        yield _calibration(rounds, pooled)
    if figure.event_kinds(rounds):
        yield Plot(
            "events",
            "Events per nanosecond of exploration",
            "Number of events over the time explored in the round; bars are central 68 % intervals of a Poisson "
            "variable. Rounds whose events were not counted have no point.",
            partial(figure.draw_events, rounds=rounds),
            height=0.36,
            description=f"Rate of {' and '.join(figure.event_kinds(rounds))} by round with Poisson intervals.",
        )
    if figure.sources(rounds):
        last = ", ".join(f"{count} {name}" for name, count in (rounds[-1].get("composition") or {}).items())
        yield Plot(
            "composition",
            "Data set by source of the frames",
            f"Labelled frames after each round, cumulative. After the last round: {escape(last)}.",
            partial(figure.draw_composition, rounds=rounds),
            height=0.36,
            description=f"Stacked bars of the labelled frames by source and round. After the last round: {last}.",
        )


def _errors(rounds: Rounds, tolerance: float | None) -> Plot:
    band = (
        " The grey band is as high as the range within which three rounds in a row count as converged."
        if tolerance
        else ""
    )
    first, last = (number(1e3 * quantity(record, "test", "forces")) for record in (rounds[0], rounds[-1]))
    return Plot(
        "errors",
        "Error by round",
        "RMSE of the test set after each round, and of the frames that were labelled in the round, before they were "
        f"trained on. New frames are chosen for being uncertain, so their error is the larger one.{band}",
        partial(figure.draw_errors, rounds=rounds, tolerance=tolerance),
        height=0.42,
        columns=2,
        description=f"Errors of forces and energies by round. The force error of the test set goes from {first} "
        f"to {last} meV/Å.",
    )


def _uncertainty(rounds: Rounds) -> Plot:
    carriers = figure.flux_carriers(rounds)
    flux = (
        " Right: root mean square of the spread of the virial heat flux over the members, by carrier."
        if carriers
        else " The spread of the heat flux was not evaluated."
    )
    first, last = (number(1e3 * quantity(record, "uncertainty", "mean")) for record in (rounds[0], rounds[-1]))
    return Plot(
        "uncertainty",
        "Uncertainty by round",
        "Largest spread of the force on an atom of each test frame over the members of the ensemble: mean, and "
        f"standard deviation between frames as bars.{flux}",
        partial(figure.draw_uncertainty, rounds=rounds, carriers=carriers),
        height=0.42 if carriers else 0.65,
        width=1.0 if carriers else 0.6,
        columns=2 if carriers else 1,
        description=f"Force spread of the test set by round; its mean goes from {first} to {last} meV/Å.",
    )


def _calibration(rounds: Rounds, pooled: ForceCalibration) -> Plot:
    last = next(one for record in reversed(rounds) if len(one := ForceCalibration.of_rounds([record])))
    return Plot(
        "calibration",
        "Calibration of the uncertainty",
        f"{escape(pooled.statement)} Left: atoms of the newly labelled frames; on the diagonal the error equals the "
        "spread s of the force over the members. Right: for Gaussian errors with variance s²/3 in each of three "
        "directions, |error|²/(s²/3) follows the χ² distribution with three degrees of freedom, and a fraction p of "
        "the errors lies inside its p-quantile. A curve below the diagonal means that uncertainties are too small; one "
        "that stays off it after they are multiplied by the factor √(⟨error²⟩/⟨s²⟩), that errors are not Gaussian "
        "or that small and large uncertainties need different factors. Atoms of one frame are not independent, and "
        "frames were chosen for being uncertain.",
        partial(figure.draw_calibration, pooled=pooled, last=last),
        height=0.46,
        columns=2,
        description=f"True force error against uncertainty, and reliability diagram. {pooled.statement}",
    )


def _failures(rounds: Rounds) -> str:
    """Collapsed lists of all frames that were not labelled, and of why explorations stopped."""
    lists = (
        ("Frames that could not be labelled", "labels", "failures"),
        ("Explorations that stopped early", "exploration", "reasons"),
    )
    parts = []
    for title, part, key in lists:
        lines = [(record["round"], text) for record in rounds for text in (record.get(part) or {}).get(key) or ()]
        if lines:
            items = "\n".join(f"<li>Round {escape(str(n))}, {escape(str(text))}</li>" for n, text in lines)
            parts.append(f"<details><summary>{title} ({len(lines)})</summary><ul>\n{items}\n</ul></details>")
    return "\n".join(parts)


def _facts(rounds: Rounds, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tolerance = settings.get("tolerance")
    yield "reference", str(settings.get("reference") or "not given")
    yield "tolerance", "not given" if tolerance is None else f"{100 * tolerance:.3g} %"
    time = sum(np.nan_to_num(quantity(record, "exploration", "time")) for record in rounds)
    if time:
        yield "time explored", f"{number(time, 4)} ps"
    for step, name in (("train", "training"), ("explore", "exploration"), ("label", "labelling")):
        seconds = [quantity(record, "seconds", step) for record in rounds]
        if np.isfinite(seconds).any():
            yield f"time spent on {name}", duration(float(np.nansum(seconds)))


def _plural(count: float, name: str) -> str:
    return f"{count:.0f} {name}{'' if count == 1 else 's'}"
