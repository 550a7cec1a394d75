"""Readers of heat fluxes written by other codes: LAMMPS, GPUMD, i-PI, and plain tables of numbers.

The readers are in `fluxan.series.readers`.
"""

from fluxan.series.readers.correlation_reading import read_flux_correlation
from fluxan.series.readers.flux_reading import read_flux

__all__ = ["read_flux", "read_flux_correlation"]
