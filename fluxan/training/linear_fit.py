"""Fits linear models by least squares, exactly and without iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.linalg import lstsq

from fluxan.neighbors import build_graph
from fluxan.potentials.linear_potential import LinearPotential
from fluxan.potentials.symmetry_functions import default_functions
from fluxan.training.batches import collate
from fluxan.training.dataset import TrainingSet
from fluxan.training.linear_design import LinearDesign
from fluxan.training.loss import LossWeights
from fluxan.training.prediction import predict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fluxan.trajectory.labelled_frame import LabelledFrame

#: Directions of the weights that change no label by more than this, relatively, are left at zero.
_RANK_TOLERANCE = 1e-11
#: Cutoffs of the model from which virials are estimated, Å.
_CUTOFF, _TRIPLET_CUTOFF = 6.0, 4.0
#: Weights of its fit. Energies per atom vary some ten times less than forces, and tell the pressure.
_WITHOUT_VIRIAL = LossWeights(energy=100.0, forces=1.0, virial=0.0)
#: Frames from which such a model is fitted at most.
_MAX_FRAMES = 50


def least_squares(roots: Mapping[str, np.ndarray], weights: LossWeights) -> np.ndarray:
    """Weights and offsets that minimise the loss, (n_columns,).

    Parameters
    ----------
    roots : mapping of str to array
        Roots of the terms, `LinearDesign.roots`.
    weights : LossWeights
        Weights of the terms, that of the flux included.
    """
    return solution_of(
        {name: root for name, root in roots.items() if getattr(weights, name)},
        {name: getattr(weights, name) for name in roots},
    )


def solution_of(roots: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Weights and offsets that minimise ``Σ_t w_t ‖R_t [x, −1]‖²``, (n_columns,).

    Parameters
    ----------
    roots : mapping of str to (n, n_columns + 1) array
        R of every term; the last column is the label.
    weights : mapping of str to float
        w of every term.
    """
    rows = np.concatenate([weights[name] ** 0.5 * root for name, root in roots.items()])
    columns = np.linalg.norm(rows[:, :-1], axis=0)
    columns[columns == 0] = 1.0
    # By QR iterations: divide and conquer, NumPy's way, does not converge for some sets with many open directions.
    return lstsq(rows[:, :-1] / columns, rows[:, -1], cond=_RANK_TOLERANCE, lapack_driver="gelss")[0] / columns


def set_weights(model: LinearPotential, weights: np.ndarray) -> LinearPotential:
    """Give a model the weights of all descriptors, element by element, and the offsets, (n_columns,)."""
    n_weights = model.weights.numel()
    with torch.no_grad():
        model.weights.copy_(torch.as_tensor(weights[:n_weights]).reshape(model.weights.shape))
        model.offsets.copy_(torch.as_tensor(weights[n_weights:]))
    return model


def fit_linear(model: LinearPotential, training_set: TrainingSet, weights: LossWeights) -> LinearPotential:
    """Fit a model's weights and offsets in place.

    Parameters
    ----------
    model : LinearPotential
        Its descriptors.
    training_set : TrainingSet
        Frames with the labels that the weights ask for.
    weights : LossWeights
        Weights of the terms.

    Returns
    -------
    LinearPotential
        The model.

    Raises
    ------
    InputError
        A frame lacks a label.
    """
    training_set.require(weights.needs())
    design = LinearDesign(model, training_set, weights.term if weights.flux else None)
    return set_weights(model, least_squares(design.roots, weights))


def virials_from_forces(frames: Sequence[LabelledFrame]) -> np.ndarray:
    """Virials of frames, (n_frames, 3, 3) eV, by a linear model that is fitted to their energies and forces.

    Parameters
    ----------
    frames : sequence of LabelledFrame
        With energies and forces.

    Raises
    ------
    InputError
        A frame lacks its energy or forces.
    """
    few = np.linspace(0, len(frames) - 1, min(len(frames), _MAX_FRAMES)).astype(int)
    elements = TrainingSet(frames).elements
    functions = default_functions(elements, cutoff=_CUTOFF, triplet_cutoff=_TRIPLET_CUTOFF)
    model = fit_linear(LinearPotential(functions), TrainingSet([frames[k] for k in few]), _WITHOUT_VIRIAL)
    batches = (collate([item], [build_graph(item.frame, model.cutoff)], elements) for item in frames)
    return np.array([predict(model, batch, flux=False, training=False).virials[0].numpy() for batch in batches])
