"""Training of potentials: labelled frames, loss terms with the power of the heat flux, fits, atomic-energy mapping."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fluxan.lazy import submodule

if TYPE_CHECKING:
    from fluxan.training.power import flux_power

# Imported at first use, since torch takes longer to import than a command takes to refuse its input.
_HOMES = {"flux_power": "power"}

__all__ = ["flux_power"]


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it, or a module by its name (PEP 562)."""
    if name not in _HOMES:
        return submodule(__name__, name)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
