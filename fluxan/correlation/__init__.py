"""Correlation functions and power spectra of fluxes, streamed in bounded memory."""

from __future__ import annotations

from .correlator import Correlator
from .result import Correlation, LevelCovariances
from .spectrum import PowerSpectrum, power_spectrum

__all__ = ["Correlation", "Correlator", "LevelCovariances", "PowerSpectrum", "power_spectrum"]
