"""fluxan: exact, decomposed heat flux of machine-learned interatomic potentials.

Units: Å, ps, eV, u, K; heat fluxes are volume-extensive (not divided by the volume), in eV Å/ps.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fluxan.errors import FluxanError
from fluxan.lazy import submodule
from fluxan.version import __version__

if TYPE_CHECKING:
    from fluxan.contribution import contributions
    from fluxan.correlation import Correlator
    from fluxan.flux.edge_currents import EdgeCurrents, edge_currents
    from fluxan.flux.evaluate import atomic_virial, heat_flux
    from fluxan.flux.pair_flux import pair_flux
    from fluxan.greenkubo import green_kubo
    from fluxan.greenkubo.driven import driven_conductivity
    from fluxan.jobs.average_virial import mean_virial, with_mean_virial
    from fluxan.jobs.decomposition import decompose
    from fluxan.jobs.spectral_current import spectral_heat_current
    from fluxan.neighbors import build_graph
    from fluxan.potentials.base import Potential
    from fluxan.potentials.load import load_model
    from fluxan.report.plotting import plot
    from fluxan.series.flux_dataset import carrier_flux, open_flux, total_flux
    from fluxan.series.flux_spectrum import power_spectrum
    from fluxan.system import Flux, Frame, Graph
    from fluxan.trajectory import convert, open_trajectory

# Imported at first use: torch, numba and xarray take longer to import than a small job takes to run. No module of the
# package has the name of a public function, since importing the module would overwrite the function.
_HOMES = {
    "Correlator": "correlation",
    "EdgeCurrents": "flux.edge_currents",
    "Flux": "system",
    "Frame": "system",
    "Graph": "system",
    "Potential": "potentials.base",
    "atomic_virial": "flux.evaluate",
    "build_graph": "neighbors",
    "carrier_flux": "series.flux_dataset",
    "contributions": "contribution",
    "convert": "trajectory",
    "decompose": "jobs.decomposition",
    "driven_conductivity": "greenkubo.driven",
    "edge_currents": "flux.edge_currents",
    "green_kubo": "greenkubo",
    "heat_flux": "flux.evaluate",
    "load_model": "potentials.load",
    "mean_virial": "jobs.average_virial",
    "open_flux": "series.flux_dataset",
    "open_trajectory": "trajectory",
    "pair_flux": "flux.pair_flux",
    "plot": "report.plotting",
    "power_spectrum": "series.flux_spectrum",
    "spectral_heat_current": "jobs.spectral_current",
    "total_flux": "series.flux_dataset",
    "with_mean_virial": "jobs.average_virial",
}

__all__ = [
    "Correlator",
    "EdgeCurrents",
    "Flux",
    "FluxanError",
    "Frame",
    "Graph",
    "Potential",
    "__version__",
    "atomic_virial",
    "build_graph",
    "carrier_flux",
    "contributions",
    "convert",
    "decompose",
    "driven_conductivity",
    "edge_currents",
    "green_kubo",
    "heat_flux",
    "load_model",
    "mean_virial",
    "open_flux",
    "open_trajectory",
    "pair_flux",
    "plot",
    "power_spectrum",
    "spectral_heat_current",
    "total_flux",
    "with_mean_virial",
]


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it, or a module by its name (PEP 562)."""
    if name not in _HOMES:
        return submodule("fluxan", name)
    value = getattr(import_module(f"fluxan.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, "__version__"])
