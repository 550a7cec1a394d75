"""Forces and fluxes of a LAMMPS on several MPI ranks, evaluated in blocks of owners and summed over the ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.flux.evaluate import FluxEvaluator
from fluxan.flux.routes import ROUTES
from fluxan.md.evaluation import Evaluation, Forces, evaluate_once
from fluxan.md.lammps.owner_blocks import OwnerBlocks

if TYPE_CHECKING:
    from fluxan.flux.check import CheckReport
    from fluxan.flux.routes import FluxSource, Route, VirialForceSource
    from fluxan.flux.signature import Signature
    from fluxan.md.lammps.lammps_atoms import LammpsAtoms
    from fluxan.md.lammps.owner_blocks import OwnerBlock
    from fluxan.potentials.base import Potential
    from fluxan.system import Graph


def flux_evaluator(atoms: LammpsAtoms, model: Potential, **options: Any) -> FluxEvaluator:
    """Evaluator of the fluxes of LAMMPS' atoms, by all its ranks; for options see `FluxEvaluator`."""
    if atoms.ranks.size == 1:
        return FluxEvaluator(model, atoms.numbers, **options)
    return BlockFluxEvaluator(model, atoms, **options)


def evaluation_by(evaluator: FluxEvaluator) -> Evaluation:
    """Evaluation of forces and fluxes with an evaluator from `flux_evaluator`."""
    return BlockEvaluation(evaluator) if isinstance(evaluator, BlockFluxEvaluator) else Evaluation(evaluator)


class BlockFluxEvaluator(FluxEvaluator):
    """Fluxes of LAMMPS' atoms by all ranks: rank 0 checks the route, every rank evaluates its owners.

    Parameters
    ----------
    model : Potential
        The model.
    atoms : LammpsAtoms
        The atoms.
    **options
        See `FluxEvaluator`.

    Attributes
    ----------
    blocks : OwnerBlocks
        Division of the atoms among the ranks.
    """

    def __init__(self, model: Potential, atoms: LammpsAtoms, **options: Any) -> None:
        super().__init__(model, atoms.numbers, **options)
        self.blocks = OwnerBlocks(model, atoms.ranks, lambda: atoms.owned)
        self._by_name = {name: BlockRoute(name, self.blocks) for name in ROUTES}

    def route_for(self, graph: Graph) -> BlockRoute:
        """Return the route, which rank 0 checks on the first graph that has edges."""
        ranks = self.blocks.ranks
        if self._requested not in self._passed and graph.n_edges:
            self._passed[self._requested] = ranks.from_root(self._checked, graph)
        return self._by_name[ranks.agree(super().route_for, graph).name]

    def _checked(self, graph: Graph) -> CheckReport:
        super().route_for(graph)
        return self._passed[self._requested]

    def _other_route(self, source: FluxSource, graph: Graph, where: str) -> BlockRoute | None:
        """Do as `FluxEvaluator`, for the signatures of all ranks."""
        for seen in dict.fromkeys(self.blocks.ranks.exchange(source.signature)):
            source.signature = seen
            other = self.blocks.ranks.agree(super()._other_route, source, graph, where)
            if other is not None:
                return self._by_name[other.name]
        return None


class BlockEvaluation(Evaluation):
    """Forces, and fluxes from the same evaluation, by all ranks.

    Parameters
    ----------
    evaluator : BlockFluxEvaluator
        See `Evaluation`.
    """

    def __init__(self, evaluator: BlockFluxEvaluator) -> None:
        super().__init__(evaluator)
        self._blocks = evaluator.blocks

    def evaluate(self, graph: Graph, route: Route | None) -> tuple[Forces, VirialForceSource | None]:
        """Forces of a graph, and the data of the same evaluation that the flux by a route needs, if there is any."""
        ranks, block = self._blocks.ranks, self._blocks.block(graph)
        part, kept = ranks.agree(_forces_of, block, route)
        parts = (block.spread(part.energies), block.spread(part.forces), part.virial)
        forces = Forces(*ranks.sum(*parts))
        if route is None or not any(ranks.exchange(kept is not None)):
            return forces, None
        return forces, BlockRoute(route.name, self._blocks, kept=(block, kept))


class BlockRoute:
    """A route whose flux and virials are summed over the blocks of all ranks.

    Parameters
    ----------
    name : str
        Name of the route.
    blocks : OwnerBlocks
        Division of the atoms among the ranks.
    kept : tuple of OwnerBlock and VirialForceSource, optional
        This rank's block of an earlier evaluation, and what that kept; None where the block is empty.

    Attributes
    ----------
    signature : Signature or None
        Signature of this rank's last forward pass.
    """

    def __init__(
        self, name: str, blocks: OwnerBlocks, *, kept: tuple[OwnerBlock, VirialForceSource | None] | None = None
    ):
        self.name = name
        self.signature: Signature | None = None
        self._blocks, self._kept = blocks, kept
        self._whole = ROUTES[name](blocks.model)

    def potential_flux(
        self, graph: Graph, velocities: np.ndarray, groups: np.ndarray, n_groups: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and virial flux (owners, carriers, 3) eV Å/ps."""
        block, source = self._kept or self._start(graph)

        def part() -> tuple[np.ndarray, np.ndarray]:
            if source is None or block.is_empty:
                return np.zeros(0), np.zeros((n_groups, n_groups, 3))
            return source.potential_flux(block.graph, velocities[block.atoms], groups[block.atoms], n_groups)

        energies, flux = self._blocks.ranks.agree(part)
        self.signature = None if source is None else source.signature
        energies, flux = self._blocks.ranks.sum(block.spread(energies), flux)
        return energies, flux

    def atomic_virial(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Atomic energies (n_atoms,) eV and W_j (n_atoms, 3, 3) eV."""
        block, route = self._start(graph)

        def part() -> tuple[np.ndarray, np.ndarray]:
            return (np.zeros(0), np.zeros((0, 3, 3))) if block.is_empty else route.atomic_virial(block.graph)

        energies, virial = self._blocks.ranks.agree(part)
        self.signature = route.signature
        energies, virial = self._blocks.ranks.sum(block.spread(energies), block.spread(virial))
        return energies, virial

    def virial_force(self, graph: Graph, field: np.ndarray) -> np.ndarray:
        """W_jᵀ F_e of every atom for a vector F_e (3,), (n_atoms, 3)."""
        block, source = self._kept or self._start(graph)

        def part() -> np.ndarray:
            if source is None or block.is_empty:
                return np.zeros((0, 3))
            return source.virial_force(block.graph, field)

        found = self._blocks.ranks.agree(part)
        self.signature = None if source is None else source.signature
        return self._blocks.ranks.sum(block.spread(found))[0]

    def _start(self, graph: Graph) -> tuple[OwnerBlock, Route]:
        """Give this rank's block of a graph, and the route that evaluates it; explicit replicas are rank 0's alone."""
        block = self._blocks.block(graph, divided=self.name != "unfolded")
        return block, self._whole if block.model is self._blocks.model else ROUTES[self.name](block.model)


def _forces_of(block: OwnerBlock, route: Route | None) -> tuple[Forces, VirialForceSource | None]:
    """The block's part of the forces, and the data of the same evaluation that the flux by a route needs."""
    if block.is_empty:
        return Forces(np.zeros(0), np.zeros((0, 3)), np.zeros((3, 3))), None
    return evaluate_once(block.model, block.graph, route)
