"""Scan of the strength of the flux term with networks: several seeds, warm starts, fits in parallel processes.

For every seed a network is fitted without the term. From each of these fits start at every strength, zero included, for
the same number of epochs, so that what differs is due to the term. Every fit has a folder of its own and is resumed
where it was interrupted.
"""

from __future__ import annotations

import gc
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fluxan.potentials.load import load_model
from fluxan.training.fit import MODEL, TrainingRun
from fluxan.training.strength import StrengthEstimate, choose_strength
from fluxan.training.training_config import read_training_config
from fluxan.training.training_job import load_data, make_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fluxan.training.training_config import TrainingConfig
    from fluxan.training.training_job import TrainingData


class ScanTask(NamedTuple):
    """One fit of a scan.

    Attributes
    ----------
    config : Path
        Training file.
    seed : int
        Of the initial weights.
    strength : float
        p_Q; 0 for the fit without the term.
    folder : Path
        Of the fit.
    start : Path or None
        Model from which the fit starts; None for new weights.
    """

    config: Path
    seed: int
    strength: float
    folder: Path
    start: Path | None


class NetworkScan(NamedTuple):
    """Networks at several strengths.

    Attributes
    ----------
    strengths : (n,) float64
        p_Q, ascending.
    errors : dict of str to (n, n_seeds) float64
        Validation RMSE of every term: eV/atom, eV/Å, eV/atom, eV Å/ps per root of the number of atoms.
    baseline : dict of str to (n_seeds,) float64
        The same without the flux term.
    estimate : StrengthEstimate
        The strength that the scan suggests.
    folders : list of list of Path
        Folder of the fit of each strength and seed; the first list holds those of strength zero.
    """

    strengths: np.ndarray
    errors: dict[str, np.ndarray]
    baseline: dict[str, np.ndarray]
    estimate: StrengthEstimate
    folders: list[list[Path]]


def scan_networks(
    path: Path, config: TrainingConfig, centre: float, *, progress: Callable[[int], None] | None = None
) -> NetworkScan:
    """Fit networks at strengths around an estimate.

    Parameters
    ----------
    path : Path
        Training file, which the processes read.
    config : TrainingConfig
        Its content.
    centre : float
        Strength in the middle of the scan.
    progress : callable, optional
        Called with the number of fits that are done.

    Raises
    ------
    FluxanError
        A fit cannot be made, see `TrainingRun`.
    """
    scan, half = config.scan, config.scan.decades / 2
    strengths = centre * np.logspace(-half, half, scan.strengths)
    root = config.folder / "scan"
    first = [ScanTask(path, seed, 0.0, root / f"seed{seed}-start", None) for seed in range(scan.seeds)]
    then = [
        [ScanTask(path, b.seed, float(p), root / f"seed{b.seed}-{p:.3e}", b.folder / MODEL) for b in first]
        for p in (0.0, *strengths)
    ]
    flat = [task for row in then for task in row]
    with ProcessPoolExecutor(scan.processes, mp_context=get_context("spawn")) as pool:
        _run(pool, first, progress, 0)
        every = _run(pool, flat, progress, len(first))
    baseline, found = every[: scan.seeds], every[scan.seeds :]
    terms = list(baseline[0])
    by_strength = {
        name: np.array([errors[name] for errors in found]).reshape(len(strengths), scan.seeds) for name in terms
    }
    without = {name: np.array([errors[name] for errors in baseline]) for name in terms}
    data_terms = [name for name in terms if name != "flux"]
    estimate = choose_strength(
        strengths,
        (by_strength["flux"] ** 2).mean(axis=1),
        {name: by_strength[name].mean(axis=1) for name in data_terms},
        {name: float(without[name].mean()) for name in data_terms},
        {name: float(without[name].std(ddof=1)) for name in data_terms},
        unregularised=float((without["flux"] ** 2).mean()),
    )
    folders = [[task.folder for task in row] for row in then]
    return NetworkScan(strengths, by_strength, without, estimate, folders)


def _run(
    pool: ProcessPoolExecutor, tasks: Sequence[ScanTask], progress: Callable[[int], None] | None, done: int
) -> list[dict[str, float]]:
    """Run fits in processes of their own; validation errors in the order of the tasks."""
    results = []
    for k, errors in enumerate(pool.map(run_task, tasks), 1):
        results.append(errors)
        if progress is not None:
            progress(done + k)
    return results


@lru_cache(maxsize=1)
def _prepared(path: Path, text: str) -> tuple[TrainingConfig, TrainingData]:  # noqa: ARG001
    """Content of a training file and its frames, which a process reads once."""
    config = read_training_config(path)
    return config, load_data(config.data)


def run_task(task: ScanTask) -> dict[str, float]:
    """Run one fit, or take up what is left of it; its validation errors, the flux included."""
    import torch

    torch.set_num_threads(1)
    config, data = _prepared(task.config, task.config.read_text(encoding="utf-8"))
    model = make_model(config.model, data.train, seed=task.seed)
    settings = config.fit
    if task.start is not None:
        model.load_state_dict(load_model(task.start).state_dict())
        settings = replace(settings, epochs=config.scan.epochs)
    run = TrainingRun(
        model,
        data.train,
        data.validation,
        weights=replace(config.weights, flux=task.strength),
        settings=replace(settings, seed=task.seed),
        folder=task.folder,
    )
    errors = run.run(resume=True).errors
    # The tables of a fit take gigabytes; waiting for Python to find unused cycles, a process held those of many fits.
    del run
    gc.collect()
    return errors
