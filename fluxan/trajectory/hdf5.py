"""Reads mdtraj's HDF5 files with velocities, through netCDF4 (no PyTables).

Format: https://mdtraj.org/latest/hdf5_format.html: the variables of the AMBER convention in nm and ps, and the topology
as JSON text:

    {"chains": [{"residues": [{"atoms": [{"index": 0, "name": "Ar", "element": "Ar"}, …]}, …]}, …], "bonds": []}
"""

from __future__ import annotations

import json

import numpy as np

from fluxan.errors import InputError
from fluxan.trajectory.amber import AmberTrajectory
from fluxan.trajectory.species import atomic_numbers


class Hdf5Trajectory(AmberTrajectory):
    """mdtraj HDF5 or AMBER NetCDF-4; elements come from the file's topology, unless the user gives them."""

    format = "HDF5"

    def _read_atoms(self) -> tuple[np.ndarray, np.ndarray | None]:
        named = self.options.elements is not None or self.options.topology is not None
        if named or "topology" not in self._file.variables:
            return super()._read_atoms()
        text = b"".join(np.atleast_1d(self._file.read("topology")).astype("S").ravel().tolist())
        symbols = _symbols(text)
        if len(symbols) != self._n_atoms:
            raise InputError(f"its topology has {len(symbols)} atoms, its coordinates {self._n_atoms}")
        return atomic_numbers(symbols), None


def _symbols(text: bytes) -> list[str]:
    """Element symbols in the order of the atoms' indices."""
    try:
        chains = json.loads(text.rstrip(b"\0"))["chains"]
        atoms = [atom for chain in chains for residue in chain["residues"] for atom in residue["atoms"]]
        atoms.sort(key=lambda atom: int(atom["index"]))
        return [str(atom["element"]) for atom in atoms]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"its topology cannot be read ({type(error).__name__}: {error}); give elements=") from error
