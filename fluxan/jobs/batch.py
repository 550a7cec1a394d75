"""Many trajectories and models: a flux file for each, one table, and κ over independent runs."""

from __future__ import annotations

import csv
import io
import re
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import FluxanError, OutputError
from fluxan.greenkubo import green_kubo
from fluxan.jobs.decomposition import decompose
from fluxan.jobs.job_file import KEYS
from fluxan.potentials.load import load_model
from fluxan.replacement import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fluxan.jobs.job_file import JobFile, Task

TABLE = "batch.csv"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one run.

    Attributes
    ----------
    task : Task
        Trajectory, model and settings of the run.
    n_frames : int
        Frames in its flux file.
    kappa, error : float
        Conductivity and its standard error, in `unit`; NaN where there is none, see `problem`.
    by_carrier : dict
        Contribution to κ of each carrier.
    failed : bool
        Whether the flux itself could not be computed; frames before the faulty one are kept.
    problem : str
        Why there is no flux, or no κ.
    warnings : tuple of str
        Evidence against κ.
    """

    task: Task
    n_frames: int = 0
    kappa: float = np.nan
    error: float = np.nan
    unit: str = ""
    by_carrier: dict[str, float] = field(default_factory=dict)
    failed: bool = False
    problem: str = ""
    warnings: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """All fields as plain values for the table and JSON; None for a missing number."""
        return {
            "name": self.task.name,
            "group": self.task.group,
            "trajectory": str(self.task.trajectory),
            "model": self.task.model,
            "frames": self.n_frames,
            "kappa": _known(self.kappa),
            "error": _known(self.error),
            "unit": self.unit,
            "by_carrier": self.by_carrier,
            "failed": self.failed,
            "problem": self.problem,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Replicas:
    """κ over independent runs of one state.

    Attributes
    ----------
    group, model : str
        Name of the group, and the model, that the runs share.
    n_runs : int
        Number of runs that have a κ.
    kappa : float
        Mean over the runs.
    error : float
        Its standard error from their scatter, std/√n; NaN for a single run, whose scatter is not known.
    expected : float
        Standard error of the mean from the errors of the runs, √(Σ σ²)/n.
    """

    group: str
    model: str
    n_runs: int
    kappa: float
    error: float
    expected: float
    unit: str

    def facts(self) -> dict[str, Any]:
        """All fields as plain values; None for a missing number."""
        return {
            "group": self.group,
            "model": self.model,
            "runs": self.n_runs,
            "kappa": self.kappa,
            "error": _known(self.error),
            "expected_error": self.expected,
            "unit": self.unit,
        }


def run_batch(jobs: JobFile, *, client: object = None, progress: bool = True) -> Iterator[Outcome]:
    """Do the runs one after another; unfinished ones are continued, finished ones are kept.

    Parameters
    ----------
    jobs : JobFile
        Runs to do.
    client : object
        See `fluxan.decompose`; one cluster serves all runs.
    progress : bool
        Show a progress bar for each run on standard error.

    Yields
    ------
    Outcome
        Outcome of each run in turn, after it was added to the table in the output folder. A run that fails does not
        stop the others.

    Raises
    ------
    ClusterError, DependencyError, InputError
        The cluster cannot be used.
    OutputError
        The output folder or the table cannot be written.
    """
    try:
        jobs.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{jobs.output} cannot be made: {error.strerror}") from error
    with ExitStack() as stack:
        if client is not None:
            from fluxan.jobs.cluster.connection import open_client

            client = stack.enter_context(open_client(client))[0]
        outcomes: list[Outcome] = []
        for task in jobs.tasks:
            outcomes.append(_run(task, jobs.output / f"{task.name}.nc", client, progress=progress))
            write_table(jobs.output / TABLE, outcomes)
            yield outcomes[-1]


def _run(task: Task, output: Path, client: object, *, progress: bool) -> Outcome:
    try:
        model = load_model(task.model, **task.adapter) if task.model and task.adapter else task.model
        with decompose(
            task.trajectory, model, output=output, resume=True, client=client, progress=progress, **task.decompose
        ) as dataset:
            n_frames = dataset.sizes["time"]
    except FluxanError as error:
        return Outcome(task, failed=True, problem=_in_keys(error))
    try:
        found = green_kubo(output, **task.green_kubo)
    except FluxanError as error:
        return Outcome(task, n_frames, problem=_in_keys(error))
    by_carrier = dict(zip(found.labels, map(float, found.by_carrier), strict=True))
    return Outcome(task, n_frames, found.kappa, found.error, found.unit, by_carrier, warnings=tuple(found.warnings))


def _in_keys(error: FluxanError) -> str:
    """A message in one line, with Python's keywords replaced by keys of a job file."""
    text = " ".join(str(error).split())
    text = re.sub(r"say (\w+)=True", r"set \1 = true in the job file", text)
    return re.sub(r"(?<!\w)(" + "|".join(KEYS) + r")=(?=[ ,;.)]|$)", r"\1 = in the job file", text)


def replicas(outcomes: Sequence[Outcome]) -> list[Replicas]:
    """κ of every group of independent runs, by group and model, in order of appearance."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.task.group and np.isfinite(outcome.kappa):
            groups.setdefault((outcome.task.group, outcome.task.model_name), []).append(outcome)
    found = []
    for (group, model), members in groups.items():
        kappa, errors = (np.array([getattr(m, name) for m in members]) for name in ("kappa", "error"))
        n = len(members)
        scatter = float(kappa.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
        expected = float(np.sqrt((errors**2).sum()) / n)
        found.append(Replicas(group, model, n, float(kappa.mean()), scatter, expected, members[0].unit))
    return found


def write_table(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write a line per run as CSV; the table that was there before stays until the new one is complete.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    labels = list(dict.fromkeys(label for outcome in outcomes for label in outcome.by_carrier))
    rows = [_flat(outcome.facts(), labels) for outcome in outcomes]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with replacing(path) as unfinished:
        unfinished.write_text(text.getvalue(), encoding="utf-8")


def _flat(facts: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Facts of a run as a line of the table: a column for each carrier of any run; missing values are empty fields."""
    by_carrier = facts.pop("by_carrier")
    carried = {f"kappa_{label}": by_carrier.get(label) for label in labels}
    last = {name: facts.pop(name) for name in ("failed", "problem", "warnings")}
    return facts | carried | last | {"failed": int(last["failed"]), "warnings": "; ".join(last["warnings"])}


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
