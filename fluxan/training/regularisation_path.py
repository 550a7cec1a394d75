"""Exact solutions of a linear model for every strength of the flux term, by one generalised decomposition.

The loss is ``‖A w − b‖² + p ‖C w − d‖²``: A and b hold the roots of the terms of energy, forces and virial, C and d
that of the flux power (`fluxan.training.linear_design`). The generalised singular value decomposition of A and C
(C. F. Van Loan, SIAM J. Numer. Anal. 13, 76 (1976)) diagonalises both, ``A X = U diag(c)`` and ``C X = Y diag(s)`` with
``c² + s² = 1``, so that each column of X is a direction of the weights that the data and the flux term see
independently, and

``w(p) = X (c Uᵀb + p s Yᵀd) / (c² + p s²)``.

It is the decomposition of the pencil (Q, AᵀA), Q = CᵀC, without forming squares, which would lose half of the digits.
A direction with small c is one that energies, forces and virials leave open; the flux term decides it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fluxan.errors import InputError
from fluxan.training.linear_design import mean_squares_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxan.training.loss import LossWeights

#: Directions of the weights that change no row by more than this, relatively, are dropped.
_RANK_TOLERANCE = 1e-11
#: A direction is open if a change along it that raises the loss by this share
_LOSS_SHARE = 0.02
#: changes the flux power by this share or more.
_POWER_SHARE = 0.01


class OpenDirections(NamedTuple):
    """Directions of the weights that energies, forces and virials hardly determine, most open first.

    Attributes
    ----------
    power : (n,) float64
        Flux power in each direction at strength zero, (eV Å/ps)² per atom.
    freedom : (n,) float64
        Flux power that a change along each direction adds when it raises the loss by 2 %, (eV Å/ps)² per atom; infinite
        where the loss does not change at all.
    n_undetermined : int
        Number of directions that no term sees, flux included, such as offsets of elements that always occur together.
    """

    power: np.ndarray
    freedom: np.ndarray
    n_undetermined: int


class RegularisationPath:
    """Weights of a linear model as a function of the strength p of the flux term.

    Parameters
    ----------
    roots : mapping of str to array
        Roots of the terms, `LinearDesign.roots`.
    weights : LossWeights
        Weights of energy, forces and virial; its flux weight is not used.

    Raises
    ------
    InputError
        There is no flux term among the roots, or no label.
    """

    def __init__(self, roots: Mapping[str, np.ndarray], weights: LossWeights) -> None:
        if "flux" not in roots:
            raise InputError("the design has no flux term; give it one")
        parts = [
            getattr(weights, name) ** 0.5 * roots[name]
            for name in ("energy", "forces", "virial")
            if name in roots and getattr(weights, name)
        ]
        if not parts:
            raise InputError("no frame has a label of a term with a weight")
        self.roots = roots
        data, flux = np.concatenate(parts), roots["flux"]
        # Data and flux are brought to one scale, columns to one norm.
        flux_norm = float(np.linalg.norm(flux[:, :-1])) or 1.0
        self._scale = (float(np.linalg.norm(data[:, :-1])) / flux_norm) ** 2
        flux = flux * self._scale**0.5
        both = np.concatenate([data, flux])
        columns = np.linalg.norm(both[:, :-1], axis=0)
        columns[columns == 0] = 1.0
        left, singular, right = _svd(both[:, :-1] / columns, full=False)
        kept = singular > _RANK_TOLERANCE * singular[0]
        self.n_undetermined = both.shape[1] - 1 - int(kept.sum())
        q1, q2 = left[: len(data), kept], left[len(data) :, kept]
        u, self.cosines, v = _svd(q1, full=True)
        self.cosines = np.pad(np.minimum(self.cosines, 1.0), (0, len(v) - len(self.cosines)))
        turned = q2 @ v.T
        self.sines = np.linalg.norm(turned, axis=0)
        self._directions = (right[kept].T / singular[kept]) @ v.T / columns[:, None]
        n = len(v)
        self._data = np.pad(u.T[:n] @ data[:, -1], (0, max(0, n - u.shape[1])))
        self._flux = turned.T @ flux[:, -1]
        self._residual = float(data[:, -1] @ data[:, -1] - self._data[self.cosines > 0] @ self._data[self.cosines > 0])

    def weights(self, strength: float) -> np.ndarray:
        """Weights and offsets that minimise the loss at one strength, (n_columns,)."""
        return self._directions @ self._coefficients(strength)

    def mean_squares(self, strength: float) -> dict[str, float]:
        """Mean square of every term at one strength, for the frames of the roots."""
        return mean_squares_of(self.roots, self.weights(strength))

    def open_directions(self) -> OpenDirections:
        """Directions that the data leave open, and the flux power in each at strength zero."""
        coefficients = self._coefficients(0.0)
        power = (self.sines * coefficients) ** 2 / self._scale
        with np.errstate(divide="ignore"):
            freedom = (self.sines / self.cosines) ** 2 * _LOSS_SHARE * max(self._residual, 0.0) / self._scale
        open_ones = np.flatnonzero(freedom > _POWER_SHARE * self.mean_squares(0.0)["flux"])
        order = open_ones[np.argsort(-freedom[open_ones], kind="stable")]
        return OpenDirections(power[order], freedom[order], self.n_undetermined)

    def _coefficients(self, strength: float) -> np.ndarray:
        if not (np.isfinite(strength) and strength >= 0):
            raise InputError(f"the strength is {strength!r}; expected a finite number, zero or more")
        p = strength / self._scale
        above = self.cosines * self._data + p * self._flux
        below = self.cosines**2 + p * self.sines**2
        return np.divide(above, below, out=np.zeros_like(above), where=below > _RANK_TOLERANCE**2)


def _svd(matrix: np.ndarray, *, full: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular value decomposition by QR iterations.

    The faster divide and conquer of NumPy did not converge for some training sets, whose many open directions have
    singular values that are all 0 or 1.
    """
    from scipy.linalg import svd

    return svd(matrix, full_matrices=full, lapack_driver="gesvd")
