"""Whether a model's gradients are those of its energies: finite differences, which use no gradient.

Messages that were detached, layers under ``torch.no_grad()`` and custom backward passes that are wrong satisfy every
identity made of gradients (gauge check, stress, unfolding), since all of them use the same ones.
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

#: Largest displacement over the shortest edge, and the relative error that passes, in double and single precision.
_STEPS: Final = {torch.float64: (5e-4, 1e-3), torch.float32: (1e-2, 1e-1)}
#: How many thirds of the difference between the steps h and 2h the error must exceed: energies that jump, at a hard
#: cutoff say, have no derivative. A jump of 1 within h is an error of 0.58/h beside a difference of 0.25/h: 7 thirds.
_CLEAR: Final = 12.0
#: Shares of the step that are tried in turn where one finds an error: the fewer atoms pass a hard cutoff along it.
_SHARES: Final = {torch.float64: (1.0, 1 / 16, 1 / 256), torch.float32: (1.0,)}
#: Displacement, Å, and relative change of the energies by it, second differences, beyond which a model is noisy.
_TINY: Final = 1e-7
_NOISE: Final = 1e-11


def gradient_error(
    model: Potential, graph: Graph, seeds: Sequence[np.ndarray], gradients: Sequence[np.ndarray], dtype: torch.dtype
) -> tuple[float, float]:
    """Largest relative error of gradients of Σ s_i U_i, for seeds s (n_atoms,), along one random direction.

    Parameters
    ----------
    model : Potential
    graph : Graph
        float64, on the CPU; no atom at a place of high symmetry.
    seeds, gradients : (n_atoms,) and (n_atoms, 3) each, eV/Å
    dtype : of the model's arithmetic

    Returns
    -------
    error, tolerance
        An error beyond the tolerance means that the gradients are not the energies'.
    """
    step, tolerance = _STEPS[dtype]
    direction = np.random.default_rng(1).uniform(-1, 1, (graph.n_atoms, 3))
    direction *= step * float(graph.r_ij.norm(dim=1).min()) / np.abs(direction).max()
    for share in _SHARES[dtype]:
        error, beyond_doubt = _error_along(model, graph, seeds, gradients, share * direction)
        if error <= tolerance:
            return error, tolerance
    return beyond_doubt, tolerance


def _error_along(
    model: Potential, graph: Graph, seeds: Sequence[np.ndarray], gradients: Sequence[np.ndarray], direction: np.ndarray
) -> tuple[float, float]:
    """Relative error of the gradients along one displacement of all atoms, and what of it is beyond doubt."""
    slopes = {
        k: (_energies(model, graph, k * direction) - _energies(model, graph, -k * direction)) / (2 * k) for k in (1, 2)
    }
    errors, beyond_doubt = [], []
    for seed, gradient in zip(seeds, gradients, strict=True):
        near, far = seed @ slopes[1], seed @ slopes[2]
        works = np.einsum("ja,ja->j", gradient, direction)
        scale = max(float(np.linalg.norm(works)), abs(near), np.finfo(np.float64).tiny)
        # The error of h² taken out; what then is left of the difference of both steps is doubt.
        errors.append(abs((4 * near - far) / 3 - works.sum()) / scale)
        beyond_doubt.append(errors[-1] - _CLEAR * abs(far - near) / 3 / scale)
    return max(errors), max(beyond_doubt)


def is_noisy(model: Potential, graph: Graph) -> bool:
    """Whether the energies of a model in double precision carry the roundings of a lower one."""
    direction = np.random.default_rng(2).uniform(-_TINY, _TINY, (graph.n_atoms, 3))
    middle, up, down = (_energies(model, graph, k * direction) for k in (0, 1, -1))
    scale = max(float(np.abs(middle).max(initial=0.0)), np.finfo(np.float64).tiny)
    return bool(np.abs(up + down - 2 * middle).max(initial=0.0) > _NOISE * scale)


def _energies(model: Potential, graph: Graph, displacements: np.ndarray) -> np.ndarray:
    moves = torch.as_tensor(displacements)
    moved = graph.replace(
        positions=graph.positions + moves, r_ij=graph.r_ij + moves[graph.senders] - moves[graph.receivers]
    )
    moved = model_graph(model, moved)
    # The contract asks for energies that can be differentiated.
    moved = moved.replace(positions=moved.positions.requires_grad_(), r_ij=moved.r_ij.requires_grad_())
    return to_numpy(atomic_energies(model, moved))
