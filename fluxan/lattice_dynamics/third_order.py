"""Third-order force constants of a model by finite differences of its forces.

``Φ_ijk = ∂³U/∂r_i∂r_j∂r_k`` is minus the mixed second derivative of the force on k. With f(x, y) the forces at
displacements x of (i, a) and y of (j, b), both 0 or ±h,

``2 h² ∂²f/∂x∂y = f(h, h) + f(−h, −h) − f(h, 0) − f(−h, 0) − f(0, h) − f(0, −h) + 2 f(0, 0) + O(h⁴)``,

which needs two evaluations for each pair besides those with one displacement, where the usual difference needs four.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.active.anharmonicity import forces_callable
from fluxan.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.lattice_dynamics.ideal_supercell import IdealSupercell
    from fluxan.potentials.base import Potential


def third_order_force_constants(
    supercell: IdealSupercell, model: Potential, *, displacement: float = 0.01, progress: bool = False
) -> np.ndarray:
    """Third derivatives of the energy, the first of which is to an atom of the primitive cell.

    Symmetric in the second and the third derivative, and with sums of zero over each of these (acoustic sum rule).

    Parameters
    ----------
    supercell : IdealSupercell
        Supercell with the atoms at the minimum of the energy.
    model : Potential
        Evaluated ``18 n_primitive n_atoms + 6 n_atoms`` times.
    displacement : float
        Å.
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    (n_primitive, 3, n_atoms, 3, n_atoms, 3) float64
        eV/Å³.
    """
    atoms, n_atoms = supercell.atom_of_site, supercell.frame.n_atoms
    forces = forces_callable(supercell.frame, model)
    rows = 3 * np.repeat(atoms, 3) + np.tile(np.arange(3), len(atoms))
    with progress_bar("third order", total=2 * (len(rows) + 1) * 3 * n_atoms, show=progress, unit="forces") as bar:

        def evaluate(*coordinates: tuple[int, float]) -> np.ndarray:
            moved = supercell.frame.positions.flatten()
            for coordinate, step in coordinates:
                moved[coordinate] += step
            bar.advance(1)
            return forces(moved.reshape(-1, 3)).ravel()

        found = -_mixed_derivatives(evaluate, rows, 3 * n_atoms, displacement)
    found = _with_sum_rule(0.5 * (found + found.transpose(0, 2, 1)), rows)
    return found.reshape(len(atoms), 3, n_atoms, 3, n_atoms, 3)


def _mixed_derivatives(
    evaluate: Callable[..., np.ndarray], rows: np.ndarray, n_coordinates: int, h: float
) -> np.ndarray:
    """Second derivatives of the forces with respect to coordinates `rows` and all, (n_rows, n, n) eV/Å³."""
    start = 2 * evaluate()
    single = np.array([evaluate((c, h)) + evaluate((c, -h)) - start for c in range(n_coordinates)])
    found = np.empty((len(rows), n_coordinates, n_coordinates))
    for row, first in enumerate(rows):
        for second in range(n_coordinates):
            both = evaluate((first, h), (second, h)) + evaluate((first, -h), (second, -h)) - start
            found[row, second] = (both - single[first] - single[second]) / (2 * h * h)
    return found


def _with_sum_rule(found: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Force constants whose sums over the last atom vanish; the differences leave O(h²) after symmetrisation.

    The correction goes to the blocks in which the second or the third atom is the first one, so that the symmetry of
    these two is kept.
    """
    n_atoms = found.shape[1] // 3
    blocks = found.reshape(-1, n_atoms, 3, n_atoms, 3)
    for block, atom in zip(blocks, rows // 3, strict=True):
        others = np.arange(n_atoms) != atom
        rest = block.sum(axis=2)[others]
        block[others, :, atom] -= rest
        block[atom, :, others] -= rest.transpose(0, 2, 1)
        block[atom, :, atom] -= block[atom].sum(axis=1)
    return found
