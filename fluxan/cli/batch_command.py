"""`fluxan batch`."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxan.cli.command_options import Dask, Json

if TYPE_CHECKING:
    from fluxan.jobs.batch import Outcome, Replicas


def batch(
    jobs: Annotated[Path, typer.Argument(metavar="JOBS", help="TOML file of jobs, see docs/scale.md.")],
    *,
    dask: Dask = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
    json: Json = False,
) -> None:
    """Decompose many trajectories with many models, and find κ of each and of independent runs together.

    Can be called again after any interruption: finished runs are kept. Exit status 1 if a run failed.

    Example: fluxan batch jobs.toml --dask local
    """
    from fluxan.jobs.batch import TABLE, replicas, run_batch
    from fluxan.jobs.job_file import read_jobs

    file = read_jobs(jobs)
    outcomes: list[Outcome] = []
    width = max(len(task.name) for task in file.tasks)
    for outcome in run_batch(file, client=dask, progress=not quiet):
        outcomes.append(outcome)
        if not json:
            typer.echo(_line(outcome, width))
    together = replicas(outcomes)
    if json:
        facts = {"runs": [o.facts() for o in outcomes], "groups": [entry.facts() for entry in together]}
        typer.echo(json_module.dumps(facts))
    else:
        for entry in together:
            typer.echo(_together(entry))
        typer.echo(f"table: {file.output / TABLE}")
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(1)


def _line(outcome: Outcome, width: int) -> str:
    from fluxan.report.verdicts import value

    head = f"{outcome.task.name:<{width}}  {outcome.n_frames:>9} frames  "
    if outcome.failed:
        return f"{head}FAILED: {outcome.problem}"
    if outcome.problem:
        return f"{head}no κ: {outcome.problem}"
    carried = ", ".join(f"{label} {kappa:.3g}" for label, kappa in outcome.by_carrier.items())
    found = f"{head}κ = {value(outcome.kappa, outcome.error)} {outcome.unit}  ({carried})"
    return "\n".join([found, *(f"{'':<{width}}  warning: {warning}" for warning in outcome.warnings)])


def _together(entry: Replicas) -> str:
    from fluxan.report.verdicts import value

    head = f"{entry.group} with {entry.model}: "
    if entry.n_runs == 1:
        return f"{head}a single run, κ = {value(entry.kappa, entry.expected)} {entry.unit}; its scatter is not known"
    return (
        f"{head}κ = {value(entry.kappa, entry.error)} {entry.unit} from the scatter of {entry.n_runs} runs; "
        f"combining their own errors gives {value(entry.kappa, entry.expected)}"
    )
