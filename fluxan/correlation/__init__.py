"""Correlation functions and power spectra of fluxes, streamed in bounded memory."""

from __future__ import annotations

from fluxan.lazy import submodule

from .correlation_function import Correlation, LevelCovariances
from .correlator import Correlator
from .spectral_density import PowerSpectrum, power_spectrum

__all__ = ["Correlation", "Correlator", "LevelCovariances", "PowerSpectrum", "power_spectrum"]


def __getattr__(name: str) -> object:
    return submodule(__name__, name)
