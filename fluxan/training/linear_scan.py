"""Scan of the strength of the flux term with a linear model: exact at every strength, without iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fluxan.errors import InputError
from fluxan.training.linear_design import LinearDesign, mean_squares_of, merged_roots
from fluxan.training.linear_fit import least_squares
from fluxan.training.loss import TERMS
from fluxan.training.regularisation_path import OpenDirections, RegularisationPath
from fluxan.training.strength import StrengthEstimate, choose_strength
from fluxan.training.term_errors import weighted_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.potentials.linear_potential import LinearPotential
    from fluxan.training.dataset import TrainingSet
    from fluxan.training.loss import LossWeights

#: Decades below and above the strength at which flux term and data terms of the loss are equal.
DECADES = (-6.0, 2.0)
#: Strengths per decade.
PER_DECADE = 10
#: Parts of the training frames that are resampled for the spread of the errors, and number of resamplings.
N_PARTS, N_RESAMPLINGS = 10, 30


class LinearScan(NamedTuple):
    """A linear model at strengths over 8 decades.

    Attributes
    ----------
    strengths : (n,) float64
        p_Q, ascending.
    train, validation : dict of str to (n,) float64
        Root mean square of every term at each strength: eV/atom, eV/Å, eV/atom, eV Å/ps per root of the number of
        atoms.
    baseline, spread : dict of str to float
        Validation RMSE without the flux term, and its standard deviation over resampled training sets.
    open_directions : OpenDirections
        Directions of the weights that energies, forces and virials leave open.
    estimate : StrengthEstimate
        The strength that the path suggests.
    path : RegularisationPath
        Weights at any strength.
    """

    strengths: np.ndarray
    train: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    baseline: dict[str, float]
    spread: dict[str, float]
    open_directions: OpenDirections
    estimate: StrengthEstimate
    path: RegularisationPath


def scan_linear(
    model: LinearPotential,
    train: TrainingSet,
    validation: TrainingSet,
    weights: LossWeights,
    *,
    progress: Callable[[int], None] | None = None,
) -> LinearScan:
    """Scan the strength of the flux term for a linear model.

    Parameters
    ----------
    model : LinearPotential
        Its descriptors.
    train, validation : TrainingSet
        Frames to fit and to validate with.
    weights : LossWeights
        Weights of energy, forces and virial, and the form of the flux term; its weight is what is scanned.
    progress : callable, optional
        Called with the number of frames whose rows are done.

    Raises
    ------
    InputError
        A label is missing, or the weights have no flux term.
    """
    if weights.term is None:
        raise InputError("a scan needs a flux term: give its temperature or another form in [flux]")
    for part in (train, validation):
        part.require(weights.needs())
    parts = _designs(model, train, weights, progress)
    held = LinearDesign(model, validation, weights.term).roots
    roots = merged_roots(parts)
    path = RegularisationPath(roots, weights)
    unregularised = path.mean_squares(0.0)
    centre = 2 * weighted_loss(unregularised, weights.without_flux()) / unregularised["flux"]
    n_strengths = round((DECADES[1] - DECADES[0]) * PER_DECADE) + 1
    strengths = centre * np.logspace(*DECADES, n_strengths)
    solutions = [path.weights(strength) for strength in strengths]
    fitted, validated = (_roots_of_squares(part, solutions) for part in (roots, held))
    baseline, spread = _spread(parts, held, weights)
    estimate = choose_strength(
        strengths,
        validated["flux"] ** 2,
        {name: values for name, values in validated.items() if name != "flux"},
        baseline,
        spread,
        unregularised=mean_squares_of(held, path.weights(0.0))["flux"],
    )
    return LinearScan(strengths, fitted, validated, baseline, spread, path.open_directions(), estimate, path)


def _designs(
    model: LinearPotential, train: TrainingSet, weights: LossWeights, progress: Callable[[int], None] | None
) -> list[LinearDesign]:
    """Designs of parts of the training frames, each of whole trajectories or of consecutive frames."""
    names = list(dict.fromkeys(item.trajectory for item in train.frames))
    if len(names) >= N_PARTS:
        chosen = [set(part) for part in np.array_split(np.array(names, dtype=object), N_PARTS)]
        groups = [[k for k, item in enumerate(train.frames) if item.trajectory in part] for part in chosen]
    else:
        groups = [part.tolist() for part in np.array_split(np.arange(len(train)), min(N_PARTS, len(train) // 2))]
    done, designs = 0, []
    for group in groups:
        designs.append(LinearDesign(model, _subset(train, group), weights.term))
        done += len(group)
        if progress is not None:
            progress(done)
    return designs


def _subset(train: TrainingSet, group: list[int]) -> TrainingSet:
    """Some frames; a single one twice, which changes no mean."""
    return train.subset(group if len(group) > 1 else group * 2)


def _roots_of_squares(roots: dict[str, np.ndarray], solutions: list[np.ndarray]) -> dict[str, np.ndarray]:
    squares = [mean_squares_of(roots, solution) for solution in solutions]
    return {name: np.array([values[name] for values in squares]) ** 0.5 for name in TERMS if name in squares[0]}


def _spread(
    parts: list[LinearDesign], held: dict[str, np.ndarray], weights: LossWeights
) -> tuple[dict[str, float], dict[str, float]]:
    """Validation RMSE without the flux term, and its standard deviation over training sets drawn with replacement."""
    rng = np.random.default_rng(0)
    draws = [np.arange(len(parts)), *rng.integers(len(parts), size=(N_RESAMPLINGS, len(parts)))]
    found = []
    for draw in draws:
        weights_of_draw = least_squares(merged_roots([parts[k] for k in draw]), weights.without_flux())
        found.append({name: value**0.5 for name, value in mean_squares_of(held, weights_of_draw).items()})
    terms = [name for name in found[0] if name != "flux"]
    spread = {name: float(np.std([values[name] for values in found[1:]], ddof=1)) for name in terms}
    return {name: found[0][name] for name in terms}, spread
