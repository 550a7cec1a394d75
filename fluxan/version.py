"""The version of fluxan."""

__version__ = "0.1.0"
