"""A two-layer message-passing model as metatomic takes it, and metatomic's own heat flux of a model."""

from __future__ import annotations

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap, sum_over_samples
from metatomic.torch import (
    AtomisticModel,
    ModelCapabilities,
    ModelInterface,
    ModelMetadata,
    ModelOutput,
    NeighborListOptions,
    System,
)

ELEMENTS = (1, 8)


class TwoLayers(torch.nn.Module):
    """Features of neighbours gathered twice.

    Parameters
    ----------
    cutoff : float
        In the model's unit of length.
    full_list : bool
        Ask for both directions of every pair, or for one.
    own_vectors : bool
        Form edge vectors from positions and cell instead of taking those of the list.
    reverse : bool
        Give the atoms in reversed order, as the format allows.
    """

    def __init__(self, cutoff, *, full_list=True, own_vectors=False, reverse=False):
        super().__init__()
        self.cutoff, self.full_list, self.own_vectors, self.reverse = float(cutoff), full_list, own_vectors, reverse
        self.options = NeighborListOptions(cutoff=cutoff, full_list=full_list, strict=True)
        generator = torch.Generator().manual_seed(0)
        for name, shape in {"embedding": (9, 4), "first": (4, 4), "second": (4, 4), "readout": (4,)}.items():
            weights = 1.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
            self.register_parameter(name, torch.nn.Parameter(weights))

    def requested_neighbor_lists(self) -> list[NeighborListOptions]:
        return [self.options]

    def forward(
        self, systems: list[System], outputs: dict[str, ModelOutput], selected_atoms: Labels | None = None
    ) -> dict[str, TensorMap]:
        system = systems[0]
        pairs = system.get_neighbor_list(self.options)
        index = pairs.samples.values.to(torch.int64)
        i, j = index[:, 0], index[:, 1]
        r = pairs.values.reshape(-1, 3)
        if self.own_vectors:
            r = system.positions[j] - system.positions[i] + index[:, 2:].to(r.dtype) @ system.cell
        if not self.full_list:
            i, j, r = torch.cat([i, j]), torch.cat([j, i]), torch.cat([r, -r])
        x = torch.sqrt((r * r).sum(dim=1, keepdim=True)) / self.cutoff
        basis = (1 - x * x) ** 3 * torch.cat([torch.sin(3.0 * x), torch.cos(3.0 * x), x, x * x], dim=1)
        h = self.embedding[system.types.to(torch.int64)]
        for weights in [self.first, self.second]:
            messages = basis * torch.tanh(h @ weights)[j]
            h = torch.tanh(h + torch.zeros_like(h).index_add(0, i, messages))
        energies = torch.tanh(h) @ self.readout
        found = self.per_atom(energies)
        results = torch.jit.annotate(dict[str, TensorMap], {})
        for name, output in outputs.items():
            results[name] = found if output.sample_kind == "atom" else sum_over_samples(found, "atom")
        return results

    def per_atom(self, energies: torch.Tensor) -> TensorMap:
        atoms = torch.arange(len(energies))
        if self.reverse:
            energies, atoms = energies.flip(0), atoms.flip(0)
        block = TensorBlock(
            energies.reshape(-1, 1),
            Labels(["system", "atom"], torch.stack([torch.zeros_like(atoms), atoms], dim=1).to(torch.int32)),
            torch.jit.annotate(list[Labels], []),
            Labels("energy", torch.tensor([[0]])),
        )
        return TensorMap(Labels("_", torch.tensor([[0]])), [block])


# Compared with typing's own forms when the model is made.
TwoLayers.forward.__annotations__ = ModelInterface.forward.__annotations__


def metatomic_model(*, length_unit="angstrom", unit="eV", names=("energy",), sample_kind="atom", hops=2, **options):
    """The model with what it says of itself; its cutoff is 3 Å in any unit of length."""
    cutoff = 3.0 * {"angstrom": 1.0, "nm": 0.1}[length_unit]
    capabilities = ModelCapabilities(
        outputs={name: ModelOutput(unit=unit, sample_kind=sample_kind) for name in names},
        atomic_types=list(ELEMENTS),
        interaction_range=hops * cutoff,
        length_unit=length_unit,
        supported_devices=["cpu"],
        dtype="float64",
    )
    return AtomisticModel(TwoLayers(cutoff, **options).eval(), ModelMetadata(), capabilities)
