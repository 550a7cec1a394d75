"""Checks a model's gradients against finite differences of its energies, which do not rely on autograd.

Models with detached messages, layers under ``torch.no_grad()`` or wrong custom backward passes satisfy every identity
between gradients (gauge check, stress, unfolding), since all of these use the same gradients. The check

1. displaces all atoms along one random direction, by ±h and ±2h, and takes central differences of the energies;
2. extrapolates both to a step of zero (Richardson), and compares with the gradients along the direction;
3. repeats with smaller steps if that finds an error, since energies may jump at a hard cutoff within a step;
4. reports an error only where it exceeds the uncertainty, which is estimated from the steps h and 2h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from fluxan.flux.energies import atomic_energies, model_graph, to_numpy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxan.potentials.base import Potential
    from fluxan.system import Graph

#: Largest displacement over the shortest edge, and largest relative error that passes, in double and single precision.
_STEPS: Final = {torch.float64: (5e-4, 1e-3), torch.float32: (1e-2, 1e-1)}
#: An error is reported if it exceeds this many uncertainties; the uncertainty is a third of the difference between the
#: results of steps h and 2h. A jump of the energy by 1 within h is an error of 0.58/h at a difference of 0.25/h: 7
#: uncertainties.
_UNCERTAINTIES: Final = 12.0
#: Fractions of the step that are tried one after the other: within a shorter step fewer pairs cross a hard cutoff.
_FRACTIONS: Final = {torch.float64: (1.0, 1 / 16, 1 / 256), torch.float32: (1.0,)}
#: A model is noisy if a displacement by this, Å, gives relative second differences of the energies larger than this.
_NOISE_STEP: Final = 1e-7
_MAX_NOISE: Final = 1e-11


def gradient_error(
    model: Potential, graph: Graph, seeds: Sequence[np.ndarray], gradients: Sequence[np.ndarray], dtype: torch.dtype
) -> tuple[float, float]:
    """Largest relative error of gradients of Σ s_i U_i, for seeds s (n_atoms,), along one random direction.

    Parameters
    ----------
    model : Potential
        The model.
    graph : Graph
        float64, on the CPU; perturbed, so that no gradient vanishes by symmetry.
    seeds, gradients : sequences of (n_atoms,) and (n_atoms, 3) float64
        Seeds, and the gradients to check, eV/Å.
    dtype : torch.dtype
        Precision of the model's arithmetic.

    Returns
    -------
    error, tolerance : float
        An error larger than the tolerance means that the gradients are not those of the energies.
    """
    step, tolerance = _STEPS[dtype]
    direction = np.random.default_rng(1).uniform(-1, 1, (graph.n_atoms, 3))
    direction *= step * float(graph.r_ij.norm(dim=1).min()) / np.abs(direction).max()
    for fraction in _FRACTIONS[dtype]:
        error, certain = _error_along(model, graph, seeds, gradients, fraction * direction)
        if error <= tolerance:
            return error, tolerance
    return certain, tolerance


def _error_along(
    model: Potential, graph: Graph, seeds: Sequence[np.ndarray], gradients: Sequence[np.ndarray], direction: np.ndarray
) -> tuple[float, float]:
    """Relative error of the gradients along one displacement of all atoms, and its part beyond the uncertainty."""
    slopes = {
        k: (_energies(model, graph, k * direction) - _energies(model, graph, -k * direction)) / (2 * k) for k in (1, 2)
    }
    errors, certain = [], []
    for seed, gradient in zip(seeds, gradients, strict=True):
        near, far = seed @ slopes[1], seed @ slopes[2]
        works = np.einsum("ja,ja->j", gradient, direction)
        scale = max(float(np.linalg.norm(works)), abs(near), np.finfo(np.float64).tiny)
        # Richardson's extrapolation removes the error of order h²; a third of the difference of both steps is left as
        # uncertainty.
        errors.append(abs((4 * near - far) / 3 - works.sum()) / scale)
        certain.append(errors[-1] - _UNCERTAINTIES * abs(far - near) / 3 / scale)
    return max(errors), max(certain)


def is_noisy(model: Potential, graph: Graph) -> bool:
    """Whether the energies of a model in double precision have the rounding errors of a lower precision."""
    direction = np.random.default_rng(2).uniform(-_NOISE_STEP, _NOISE_STEP, (graph.n_atoms, 3))
    middle, up, down = (_energies(model, graph, k * direction) for k in (0, 1, -1))
    scale = max(float(np.abs(middle).max(initial=0.0)), np.finfo(np.float64).tiny)
    return bool(np.abs(up + down - 2 * middle).max(initial=0.0) > _MAX_NOISE * scale)


def _energies(model: Potential, graph: Graph, displacements: np.ndarray) -> np.ndarray:
    moves = torch.as_tensor(displacements)
    moved = graph.replace(
        positions=graph.positions + moves, r_ij=graph.r_ij + moves[graph.senders] - moves[graph.receivers]
    )
    moved = model_graph(model, moved)
    # Energies are required to be differentiable, see `atomic_energies`.
    moved = moved.replace(positions=moved.positions.requires_grad_(), r_ij=moved.r_ij.requires_grad_())
    return to_numpy(atomic_energies(model, moved))
