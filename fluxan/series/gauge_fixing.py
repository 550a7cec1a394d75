"""Variational gauge fixing: the flux less what the motion of the species as wholes explains of it.

Two heat fluxes that differ by a bounded total time derivative have the same conductivity (gauge invariance: L. Ercole,
A. Marcolongo, P. Umari, S. Baroni, J. Low Temp. Phys. 185, 79 (2016)). In a solid the sums of velocities of the species
are such derivatives. Of all fluxes ``J − Σ_s Λ_s V_s`` with constant matrices Λ_s, the one of least mean square has the
least noise (A. Marcolongo, L. Ercole, S. Baroni, J. Chem. Theory Comput. 16, 3352 (2020), arXiv:1909.13580). Where
species diffuse, V_s carries heat, and this would change the conductivity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fluxan.series.heat_flux_series import HeatFluxSeries

#: Combinations of velocities that are smaller than this, relatively, are zero but for round-off, as the total momentum.
_RANK_TOLERANCE = 1e-8


def gauge_fixed(series: HeatFluxSeries) -> HeatFluxSeries:
    """Subtract from every channel what a linear regression on the velocities of the species explains.

    Parameters
    ----------
    series : HeatFluxSeries
        With sums of velocities of its species; it is read twice.

    Returns
    -------
    HeatFluxSeries
        The flux whose mean square is least, channel by channel.

    Raises
    ------
    InputError
        The series has no velocities.
    """
    if not series.species:
        raise InputError("remove='variational' needs the sums of velocities of the species; this flux has none")
    coefficients = _regression(series)
    n_channels, read = series.n_channels, series.read

    def fixed(start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        flux, velocity = read(start, stop)
        explained = velocity.reshape(len(velocity), -1) @ coefficients
        return flux - explained.reshape(-1, n_channels, 3), velocity

    return replace(series, read=fixed)


def _regression(series: HeatFluxSeries) -> NDArray[np.float64]:
    """Λ, (3 n_species, 3 n_channels), by least squares over all samples, block by block."""
    n_species = 3 * series.n_species
    squares, products = np.zeros((n_species, n_species)), np.zeros((n_species, 3 * series.n_channels))
    for block in series.blocks():
        velocity = block[:, series.n_channels :].reshape(len(block), -1)
        squares += velocity.T @ velocity
        products += velocity.T @ block[:, : series.n_channels].reshape(len(block), -1)
    return np.linalg.pinv(squares, rcond=_RANK_TOLERANCE, hermitian=True) @ products
