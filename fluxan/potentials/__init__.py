"""Interatomic potentials: thin torch modules that map a `fluxan.system.Graph` to atomic energies U_i, eV.

`base` defines what a potential must provide. Analytic potentials are `lennard_jones`, `vashishta` and
`stillinger_weber`. Potentials that fluxan trains are `equivariant`, a message-passing network, and those of
`symmetry_functions`: `behler_parrinello` and `linear_potential`; `model_file` writes and reads their files. `adapters`
wrap models of other programs. `load` makes a potential from a file or a name, `fingerprint` identifies it. Names are
imported on first use, so that importing this package stays fast.
"""

from __future__ import annotations

from importlib import import_module

from fluxan.lazy import submodule

_HOME = {
    "BehlerParrinello": "behler_parrinello",
    "LennardJones": "lennard_jones",
    "LinearPotential": "linear_potential",
    "PairPotential": "pair_potential",
    "Potential": "base",
    "StillingerWeber": "stillinger_weber",
    "SymmetryFunctions": "symmetry_functions",
    "Vashishta": "vashishta",
    "load_model": "load",
}

__all__ = [
    "BehlerParrinello",
    "LennardJones",
    "LinearPotential",
    "PairPotential",
    "Potential",
    "StillingerWeber",
    "SymmetryFunctions",
    "Vashishta",
    "load_model",
]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return submodule(__name__, name)
