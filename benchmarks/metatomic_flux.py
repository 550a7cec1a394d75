"""A model of ours as a metatomic model, and metatomic's own heat flux of it: independent code on the same energies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelInterface,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)
from metatomic.torch.heat_flux import HeatFlux

from fluxan.system import Graph

if TYPE_CHECKING:
    import numpy as np

    from fluxan.potentials.base import Potential
    from fluxan.system import Frame


class Wrapped(torch.nn.Module):
    """Atomic energies in metatomic's form."""

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.potential = potential
        self._neighbors = NeighborListOptions(cutoff=potential.cutoff, full_list=True, strict=True)

    def requested_neighbor_lists(self) -> list[NeighborListOptions]:
        """Ask for all directed pairs within the cutoff."""
        return [self._neighbors]

    def forward(
        self,
        systems: list[System],
        outputs: dict[str, ModelOutput],
        selected_atoms: Labels | None = None,
    ) -> dict[str, TensorMap]:
        """Energies of one system, per atom."""
        (system,) = systems
        pairs = system.get_neighbor_list(self._neighbors)
        first, second, *shifts = pairs.samples.values.to(torch.int64).T
        graph = Graph(
            numbers=system.types.to(torch.int64),
            positions=system.positions,
            cell=system.cell,
            senders=second,
            receivers=first,
            shifts=torch.stack(shifts, dim=1),
            r_ij=pairs.values[:, :, 0],
        )
        energies = self.potential(graph)
        atoms = torch.arange(len(energies))
        block = TensorBlock(
            energies[:, None],
            Labels(["system", "atom"], torch.stack([torch.zeros_like(atoms), atoms], dim=1)),
            [],
            Labels("energy", torch.tensor([[0]])),
        )
        return dict.fromkeys(outputs, TensorMap(Labels("_", torch.tensor([[0]])), [block]))


# Compared with typing's own forms when the model is made.
Wrapped.forward.__annotations__ = ModelInterface.forward.__annotations__


def metatomic_flux(potential: Potential, frame: Frame) -> np.ndarray:
    """Potential flux and its convective part, (3,) eV Å/ps, by metatomic's `HeatFlux`; atoms are given no mass."""
    capabilities = ModelCapabilities(
        outputs={"energy": ModelOutput(unit="eV", sample_kind="atom")},
        atomic_types=sorted(set(frame.numbers.tolist())),
        interaction_range=potential.n_hops * potential.cutoff,
        length_unit="A",
        supported_devices=["cpu"],
        dtype="float64",
    )
    return flux_of(AtomisticModel(Wrapped(potential).eval(), ModelMetadata(), capabilities), frame)


def flux_of(model: AtomisticModel, frame: Frame) -> np.ndarray:
    """The same of a metatomic model."""
    system = System(
        types=torch.as_tensor(frame.numbers, dtype=torch.int32),
        positions=torch.as_tensor(frame.positions),
        cell=torch.as_tensor(frame.cell),
        pbc=torch.tensor([True, True, True]),
    )
    xyz = [Labels("xyz", torch.arange(3)[:, None])]
    system.add_data("mass", _per_atom(torch.zeros(frame.n_atoms, 1, dtype=torch.float64), "mass", []))
    system.add_data("velocity", _per_atom(torch.as_tensor(frame.velocities)[:, :, None] / 1000, "velocity", xyz))
    output = {"heat_flux": ModelOutput(unit="eV*A/fs", sample_kind="system")}
    flux = HeatFlux(model)([system], output, None)["heat_flux"].block().values
    return 1000 * flux.detach().numpy().reshape(3)


def _per_atom(values: torch.Tensor, name: str, components: list[Labels]) -> TensorMap:
    samples = Labels(["atoms"], torch.arange(len(values))[:, None])
    block = TensorBlock(values, samples, components, Labels(name, torch.tensor([[0]])))
    return TensorMap(Labels("_", torch.tensor([[0]])), [block])
