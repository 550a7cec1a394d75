"""Output of `fluxan md` during a run and at its end."""

from __future__ import annotations

import json as json_module
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import typer

from fluxan.cli.standard_error import print_warning

if TYPE_CHECKING:
    from collections.abc import Generator

    from fluxan.greenkubo import Conductivity
    from fluxan.greenkubo.driven import DrivenConductivity
    from fluxan.md.md_run import MdRun
    from fluxan.md.stopping import RunningConductivity


def follow(run: MdRun, kappa: RunningConductivity, *, bar: bool, lines: bool) -> None:
    """Run to the end, or until the error of κ is small enough; print κ at every milestone."""
    if lines:
        print(_opening(run), file=sys.stderr)
    _update(run, kappa, lines=lines)
    if kappa.finished:
        return
    with closing(advancing(run, run.settings.ensemble, bar=bar)) as blocks:
        for _ in blocks:
            _update(run, kappa, lines=lines)
            if kappa.finished:
                return


def advancing(run: MdRun, title: str, *, bar: bool) -> Generator[None]:
    """Run block by block under a progress bar."""
    from fluxan.progress import progress_bar

    settings = run.settings
    total = settings.thermal_steps + settings.n_frames * settings.flux_every
    done = run.step + (settings.thermal_steps if run.phase == "produce" else 0)
    with progress_bar(title, total=total, done=done, show=bar, unit="steps") as shown:
        for steps in run.blocks():
            shown.advance(steps)
            yield


def print_end(run: MdRun, kappa: RunningConductivity, *, json: bool) -> None:
    """Print the result of a run."""
    from fluxan.md.drift import energy_drift
    from fluxan.series.flux_dataset import open_flux

    with open_flux(run.output) as dataset:
        drift, mean = energy_drift(dataset), float(dataset["temperature"].mean())
    length, result = run.n_frames * run.settings.frame_step, kappa.result
    for warning in result.warnings if result is not None else ():
        print_warning(warning)
    if json:
        facts = {"output": str(run.output), "n_frames": run.n_frames, "length": length, "temperature": mean}
        facts |= {"energy_drift": drift, "correlation": str(run.correlation_path)}
        facts |= {"kappa": result and result.kappa, "error": result and result.error}
        typer.echo(json_module.dumps(facts | {"reached": kappa.reached}))
        return
    typer.echo("")
    if drift is not None:
        typer.echo(f"total energy changed by {drift:+.1e} eV per atom over {length:.4g} ps; T = {mean:.4g} K")
    if kappa.goal is not None and not kappa.reached:
        typer.echo(f"the error is still above {kappa.goal:.3g} of κ: continue with --resume and a longer --time")
    if result is not None:
        typer.echo(f"κ = {_line(result)}")
    typer.echo(f"wrote {run.output} and {run.correlation_path}; next: fluxan report {run.output}")


def _update(run: MdRun, kappa: RunningConductivity, *, lines: bool) -> None:
    """Print κ where the run has reached a milestone."""
    if kappa.update(run) and lines:
        length = run.n_frames * run.settings.frame_step
        typer.echo(f"{length:>10.4g} ps   " + (kappa.reason or _line(kappa.result)))


def _line(result: Conductivity | DrivenConductivity | None) -> str:
    from fluxan.report.verdicts import unit, value

    if result is None:
        return "no κ"
    return f"{value(result.kappa, result.error)}{unit(result)}  (T = {result.temperature:.4g} K)"


def _opening(run: MdRun) -> str:
    settings = run.settings
    begun = f"continued at {run.n_frames * settings.frame_step:.4g} ps, " if run.n_frames or run.step else ""
    return (
        f"{begun}{len(run.atoms)} atoms, {settings.thermalise:g} ps at {settings.temperature:g} K, then "
        f"{settings.time:g} ps {settings.ensemble}, a flux every {1e3 * settings.frame_step:g} fs"
    )
