"""fluxan's models in ASE: energies, forces, stress and heat flux for any ASE workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from fluxan.flux.energies import atomic_energies, model_graph, to_numpy
from fluxan.flux.evaluate import FluxEvaluator, refuse_unknown_elements
from fluxan.neighbors import NeighborList, build_graph
from fluxan.potentials.load import load_model
from fluxan.system import Frame
from fluxan.trajectory.memory import record_of_atoms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from fluxan.flux.check import CheckReport
    from fluxan.system import Flux, Graph

PROPERTIES = ["energy", "free_energy", "energies", "forces", "stress", "heat_flux"]


class FluxanCalculator(Calculator):
    """An ASE calculator of a fluxan model.

    Energies, forces and, for periodic atoms, stress come from one evaluation and one backward pass; the heat flux is
    computed only when it is asked for (``calc.get_property("heat_flux", atoms)``), from the atoms' velocities.

    Parameters
    ----------
    model : Potential or what `fluxan.load_model` takes
    route : {"auto", "local", "adjoint", "unfolded"}
        How the flux is found, see `fluxan.heat_flux`.

    Attributes
    ----------
    model : torch.nn.Module
    results : dict
        In ASE's units: energy and free_energy eV; energies (n_atoms,) eV, one per atom; forces (n_atoms, 3) eV/Å;
        stress (6,) eV/Å³ in the order xx, yy, zz, yz, xz, xy, negative under compression; heat_flux (3,), total and
        volume-extensive as everywhere in fluxan, in eV Å/ps.

    Raises
    ------
    ModelError, FileError
        See `fluxan.load_model`; when evaluated, see `fluxan.heat_flux`.
    """

    implemented_properties = PROPERTIES

    def __init__(self, model: object, *, route: str = "auto") -> None:
        super().__init__()
        self.model = load_model(model)
        self.route = route
        self._neighbors = NeighborList(self.model.cutoff)
        self._passed: dict[str, CheckReport] = {}

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """Return a result, computed if need be; velocities, which ASE does not watch, make a heat flux old."""
        if atoms is not None and self.atoms is not None and _moves_otherwise(atoms, self.atoms):
            self.results.pop("heat_flux", None)
        return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results`; ASE calls this."""
        super().calculate(atoms, properties, system_changes)
        refuse_unknown_elements(self.model, self.atoms.numbers)
        if set(system_changes) - {"positions"}:
            self._neighbors.reset()
        if "heat_flux" in properties:
            self.results["heat_flux"] = self.flux(self.atoms).total
        if set(properties) != {"heat_flux"}:
            frame = frame_of_atoms(self.atoms)
            self.results.update(energies_forces_stress(self.model, self._neighbors.graph(frame), frame.volume))

    def flux(self, atoms: Atoms, *, groups: str | Sequence[object] = "element") -> Flux:
        """Heat flux of atoms that have velocities, split by owner and carrier, see `fluxan.heat_flux`.

        Parameters
        ----------
        atoms : ase.Atoms
        groups : "element" or one label per atom

        Raises
        ------
        InputError, ModelError
            See `fluxan.heat_flux`.
        """
        frame = frame_of_atoms(atoms)
        evaluator = FluxEvaluator(self.model, frame.numbers, groups=groups, route=self.route, passed=self._passed)
        return evaluator.flux(frame, build_graph(frame, self.model.cutoff))


def frame_of_atoms(atoms: Atoms) -> Frame:
    """A frame from ASE atoms, in fluxan's units; open directions without a cell vector get one."""
    record = record_of_atoms(atoms)
    return Frame(
        record.positions,
        record.velocities,
        None if record.cell is None else np.array(atoms.cell.complete()),
        record.numbers,
        record.masses,
        pbc=record.pbc,
    )


def energies_forces_stress(model: torch.nn.Module, graph: Graph, volume: float | None) -> dict[str, Any]:
    """Results in ASE's units and names, from one forward and one backward pass.

    Parameters
    ----------
    model : Potential
    graph : Graph
        float64, on the CPU.
    volume : float or None
        Å³; without it there is no stress.

    Raises
    ------
    ModelError
        See `fluxan.flux.energies.atomic_energies`.
    """
    graph = model_graph(model, graph)
    displacements = torch.zeros_like(graph.positions, requires_grad=True)
    strain = torch.zeros(3, 3).to(graph.positions).requires_grad_()
    energies = atomic_energies(model, _deformed(graph, displacements, strain))
    gradient, virial = torch.zeros_like(displacements), torch.zeros_like(strain)
    if energies.requires_grad:
        gradient, virial = torch.autograd.grad(
            energies.sum(), (displacements, strain), allow_unused=True, materialize_grads=True
        )
    atomic = to_numpy(energies)
    results: dict[str, Any] = {"energy": float(atomic.sum()), "energies": atomic, "forces": -to_numpy(gradient)}
    results["free_energy"] = results["energy"]
    if volume is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(to_numpy(virial) / volume)
    return results


def _deformed(graph: Graph, displacements: torch.Tensor, strain: torch.Tensor) -> Graph:
    """Displace the atoms, then strain everything."""
    stretch = torch.eye(3).to(strain) + strain
    moves = displacements.index_select(0, graph.senders) - displacements.index_select(0, graph.receivers)
    return graph.replace(
        positions=(graph.positions + displacements) @ stretch,
        cell=None if graph.cell is None else graph.cell @ stretch,
        r_ij=(graph.r_ij + moves) @ stretch,
    )


def _moves_otherwise(atoms: Atoms, before: Atoms) -> bool:
    """Whether velocities are others than before."""
    momenta = [a.arrays.get("momenta") for a in (atoms, before)]
    if momenta[0] is None or momenta[1] is None:
        return momenta[0] is not momenta[1]
    return not np.array_equal(momenta[0] / atoms.get_masses()[:, None], momenta[1] / before.get_masses()[:, None])
