"""Correlation functions and power spectra of fluxes, from samples as they arrive, in bounded memory."""

from __future__ import annotations

from fluxan.lazy import submodule

from .correlation_function import Correlation, LevelCovariances
from .correlator import Correlator
from .spectral_density import PowerSpectrum, spectrum_of_samples

__all__ = ["Correlation", "Correlator", "LevelCovariances", "PowerSpectrum", "spectrum_of_samples"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
