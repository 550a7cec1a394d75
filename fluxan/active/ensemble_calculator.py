"""An ensemble as an ASE calculator: the mean drives the dynamics, and every member's prediction is at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase.calculators.calculator import Calculator, all_changes

from fluxan.active.ensemble import EnsemblePrediction
from fluxan.md.ase.calculator import frame_of_atoms
from fluxan.neighbors import NeighborList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from fluxan.active.ensemble import Ensemble


#: Results that are there.
PROPERTIES = ["energy", "free_energy", "forces"]


class EnsembleCalculator(Calculator):
    """Mean energy and mean forces of an ensemble.

    Parameters
    ----------
    ensemble : Ensemble
        The members.

    Attributes
    ----------
    ensemble : Ensemble
        The members.
    prediction : EnsemblePrediction or None
        Energies and forces of every member at the last positions.
    """

    implemented_properties = PROPERTIES

    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.prediction: EnsemblePrediction | None = None
        self._neighbors = NeighborList(ensemble.cutoff)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results`; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        if set(system_changes) - {"positions"}:
            self._neighbors.reset()
        graph = self._neighbors.graph(frame_of_atoms(self.atoms))
        energies, forces = self.ensemble.energies_and_forces(graph)
        self.prediction = EnsemblePrediction(energies, forces, None)
        self.results["energy"] = self.results["free_energy"] = float(energies.mean())
        self.results["forces"] = forces.mean(axis=0)
