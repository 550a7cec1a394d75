"""Conservation of energy along a recorded run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fluxan.units import BOLTZMANN

if TYPE_CHECKING:
    import xarray


def energy_drift(dataset: xarray.Dataset) -> float | None:
    """Change of the total energy over the run, eV per atom, from a straight-line fit.

    None where it is undefined: the number of atoms is not known, a thermostat exchanges energy or may do so, or there
    are fewer than three frames.
    """
    n_atoms = dataset.attrs.get("n_atoms")
    # A flux that was computed from a trajectory does not tell the ensemble of the run.
    ensemble = dataset.attrs.get("ensemble", "unknown" if "trajectory_sha256" in dataset.attrs else "nve")
    if n_atoms is None or ensemble != "nve" or dataset.sizes["time"] < 3:
        return None
    n_atoms = int(n_atoms)
    freedom = 3 * n_atoms - (3 if dataset.attrs.get("periodic", 1) else 0)
    kinetic = 0.5 * freedom * BOLTZMANN * dataset["temperature"].values
    energy = (dataset["potential_energy"].values + kinetic) / n_atoms
    along = np.linspace(-0.5, 0.5, len(energy))
    return float(along @ (energy - energy.mean()) / (along @ along))
