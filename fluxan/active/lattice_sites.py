"""Sites of a periodic lattice: the nearest one to each atom, in any cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from fluxan.system import Frame

#: Least distance between two sites, Å; nearer ones are taken to be one site that was given twice.
LEAST_SITE_DISTANCE = 0.3


class LatticeSites:
    """Sites in a periodic cell.

    Around each site lies its core, the sphere in which an atom is nearer to the site than, by `hysteresis`, to the
    boundary half-way to the nearest other site: of radius ``D/4 − hysteresis/2`` for a distance D between the two.

    Parameters
    ----------
    positions : (n_sites, 3) array_like
        Å: the mean positions of the phase at hand, and those of interstitial sites where these are sites of interest.
    cell : (3, 3) array_like
        Cell vectors in rows, Å.
    hysteresis : float
        Å.

    Attributes
    ----------
    positions : (n_sites, 3) float64
        Å.
    cell : (3, 3) float64
        Å.
    spacing : (n_sites,) float64
        D, the distance of each site from the nearest other one or from its own image, Å.
    core_radius : (n_sites,) float64
        Å.

    Raises
    ------
    InputError
        The cell is singular, two sites coincide, or the hysteresis leaves no core.
    """

    def __init__(self, positions: np.ndarray, cell: np.ndarray, *, hysteresis: float = 0.1) -> None:
        from ase.geometry import minkowski_reduce
        from scipy.spatial import cKDTree

        self.positions, self.cell = np.array(positions, dtype=np.float64), np.array(cell, dtype=np.float64)
        _check_sites(self.positions, self.cell)
        # In the reduced cell the nearest image of a wrapped point is among the next ones, however skewed the cell is.
        self._reduced = minkowski_reduce(self.cell)[0]
        self._inverse = np.linalg.inv(self._reduced)
        shifts = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
        images = ((self.positions @ self._inverse) % 1 + shifts).reshape(-1, 3) @ self._reduced
        self._tree, self._next_cells = cKDTree(images), shifts[:, 0] @ self._reduced
        self.spacing = self._tree.query(self._wrapped(self.positions), k=2)[0][:, 1]
        if self.spacing.min() < LEAST_SITE_DISTANCE:
            site = int(self.spacing.argmin())
            raise InputError(f"site {site} is {self.spacing[site]:.3g} Å from another; give each site once")
        self.core_radius = self.spacing / 4 - hysteresis / 2
        if hysteresis < 0 or self.core_radius.min() <= 0:
            most = self.spacing.min() / 2
            raise InputError(f"hysteresis is {hysteresis} Å; for these sites it must be from 0 to below {most:.3g} Å")

    @classmethod
    def of_frame(cls, frame: Frame, extra_sites: np.ndarray | None = None, *, hysteresis: float = 0.1) -> LatticeSites:
        """Sites at the positions of an ideal structure, and extra ones that are empty in it.

        Parameters
        ----------
        frame : Frame
            Ideal structure, periodic in all directions.
        extra_sites : (n, 3) array_like, optional
            Further sites, as those of vacancies or interstitial atoms, Å.
        hysteresis : float
            Å.
        """
        if frame.cell is None or not all(frame.pbc):
            raise InputError("the ideal structure is not periodic in all directions; lattice sites need a cell")
        extra = np.zeros((0, 3)) if extra_sites is None else np.asarray(extra_sites, dtype=np.float64).reshape(-1, 3)
        return cls(np.concatenate([frame.positions, extra]), frame.cell, hysteresis=hysteresis)

    def __len__(self) -> int:
        """Return the number of sites."""
        return len(self.positions)

    def nearest(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest site, (n,) int64, and displacement from it, (n, 3) Å, of positions, (n, 3) Å in any image."""
        wrapped = self._wrapped(positions)
        _, found = self._tree.query(wrapped)
        return found % len(self), wrapped - self._tree.data[found]

    def minimum_image(self, vectors: np.ndarray) -> np.ndarray:
        """Shortest periodic images of vectors, (n, 3) Å."""
        vectors = np.reshape(vectors, (-1, 3))
        rounded = vectors - np.rint(vectors @ self._inverse) @ self._reduced
        candidates = rounded[:, None] + self._next_cells
        return candidates[np.arange(len(rounded)), (candidates**2).sum(axis=2).argmin(axis=1)]

    def _wrapped(self, positions: np.ndarray) -> np.ndarray:
        return ((positions @ self._inverse) % 1) @ self._reduced


def _check_sites(positions: np.ndarray, cell: np.ndarray) -> None:
    if positions.ndim != 2 or positions.shape[1] != 3 or not len(positions) or not np.isfinite(positions).all():
        raise InputError(f"sites have shape {positions.shape}; expected (n_sites, 3) finite positions in Å")
    if cell.shape != (3, 3) or not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-9:
        raise InputError(f"the cell of the sites is {cell.tolist()}; expected three independent vectors in Å")
