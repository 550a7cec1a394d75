"""Any metatomic model (metatomic-torch): PET, SOAP-BPNN, and other models that metatrain or other programs export.

Atomic energies are requested from the model; its neighbour lists are filled from the graph. Its flux is computed by the
adjoint route where the crossings of its edges can be found, otherwise by the unfolded route.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from fluxan.errors import FileError, ModelError
from fluxan.potentials.adapters import _checkpoints as checkpoints
from fluxan.potentials.adapters._checkpoints import ForeignPotential

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.system import Graph

LENGTH_UNIT = "angstrom"


class MetatomicPotential(ForeignPotential):
    """A metatomic model, unmodified.

    The number of hops is its interaction range divided by the cutoff of its longest neighbour list.

    Parameters
    ----------
    model : metatomic.torch.AtomisticModel
        The model, also scripted.
    variant : str, optional
        Which of the model's energies, "pbe" for the output "energy/pbe".

    Attributes
    ----------
    dtype : torch.dtype
        The only precision that the model takes.

    Raises
    ------
    ModelError
        The model gives no atomic energies, asks for other data than atoms and pairs, or has no finite range.
    """

    def __init__(self, model: Any, *, variant: str | None = None) -> None:
        super().__init__()
        self.model = model
        capabilities = model.capabilities()
        self.dtype = checkpoints.real_dtype(capabilities.dtype)
        self.elements = tuple(int(z) for z in capabilities.atomic_types)
        self.lists = model.requested_neighbor_lists()
        self.cutoff, self.n_hops = _reach(capabilities.engine_interaction_range(LENGTH_UNIT), self.lists)
        inputs = list(model.requested_inputs(use_new_names=True))
        if inputs:
            raise ModelError(f"the metatomic model asks for {', '.join(inputs)}; fluxan gives atoms and pairs only")
        self.output = _energy_output(capabilities.outputs, variant)
        self.energy_unit = _energy_unit(capabilities.outputs[self.output].unit)

    def forward(self, graph: Graph) -> torch.Tensor:
        """Atomic energies U_i, (n_atoms,) eV."""
        from metatomic.torch import ModelEvaluationOptions, ModelOutput

        # No unit is asked for, since metatomic would convert in place; `energy_unit` converts below.
        outputs = {self.output: ModelOutput(sample_kind="atom")}
        options = ModelEvaluationOptions(length_unit=LENGTH_UNIT, outputs=outputs)
        with torch.jit.optimized_execution(should_optimize=False):
            block = self.model([self._system(graph)], options, check_consistency=False)[self.output].block()
        energies, atoms = block.values.reshape(-1), block.samples.column("atom").to(torch.int64)
        if not torch.equal(atoms, torch.arange(len(atoms), device=atoms.device)):
            energies = energies[torch.argsort(atoms)]
        return self.energy_unit * energies

    def _system(self, graph: Graph) -> Any:
        """The graph as metatomic takes it; a direction without a period has no cell vector there."""
        from metatomic.torch import System

        periodic = graph.cell is not None
        system = System(
            types=graph.numbers.to(torch.int32),
            positions=graph.positions,
            cell=graph.cell if periodic else graph.positions.new_zeros(3, 3),
            pbc=torch.full((3,), periodic, device=graph.positions.device),
        )
        for options in self.lists:
            system.add_neighbor_list(options, _pairs(graph, options, self.cutoff))
        return system


def load(
    path: str | Path, *, device: str = "cpu", variant: str | None = None, extensions: str | Path | None = None
) -> MetatomicPotential:
    """Read an exported metatomic model.

    The file is TorchScript, and no Python objects are unpickled; with `extensions`, compiled libraries are loaded too.

    Parameters
    ----------
    path : str or Path
        A file that ``AtomisticModel.save`` wrote.
    device : str
        Name of the torch device.
    variant : str, optional
        Which of the model's energies, "pbe" for the output "energy/pbe".
    extensions : path, optional
        Folder of the TorchScript extensions that the model needs.

    Raises
    ------
    FileError
        The file is missing or broken.
    ModelError
        It is not a metatomic model, or gives no atomic energies.
    DependencyError
        metatomic-torch is not installed.
    """
    if checkpoints.file_kind(path) != "torchscript":
        raise ModelError(f"{path} is no metatomic model; expected the TorchScript file that AtomisticModel.save writes")
    try:
        from metatomic.torch import load_atomistic_model
    except ImportError as error:
        raise checkpoints.missing("metatomic-torch", "metatomic") from error
    try:
        model = load_atomistic_model(str(path), extensions_directory=extensions)
    except (RuntimeError, ValueError) as error:
        raise FileError(f"cannot open {path} as a metatomic model: {checkpoints.first_line(error)}") from error
    potential = MetatomicPotential(model.to(device=device), variant=variant)
    potential.read_from(path)
    return potential


def wrap(model: Any) -> MetatomicPotential:
    """Wrap a metatomic model in memory, or that of a ``metatomic_ase.MetatomicCalculator``.

    Raises
    ------
    ModelError
        See `MetatomicPotential`.
    """
    if isinstance(model, torch.nn.Module):
        return MetatomicPotential(model)
    variant = model._energy_key.partition("/")[2] or None
    return MetatomicPotential(model._model, variant=variant)


def _reach(interaction_range: float, lists: list[Any]) -> tuple[float, int]:
    """Length of the longest edge, Å, and number of edges (hops) over which an atomic energy extends."""
    cutoff = max((options.engine_cutoff(LENGTH_UNIT) for options in lists), default=interaction_range)
    if not (0 < cutoff < math.inf and interaction_range < math.inf):
        raise ModelError(
            f"the metatomic model has the interaction range {interaction_range} Å and neighbour lists up to "
            f"{cutoff} Å; the flux needs both finite and positive"
        )
    return float(cutoff), max(1, math.ceil(interaction_range / cutoff - 1e-6))


def _energy_output(outputs: dict[str, Any], variant: str | None) -> str:
    """Name of the output that holds the atomic energies of a variant."""
    energies = [name for name in outputs if name.partition("/")[0] == "energy"]
    name = f"energy/{variant}" if variant else "energy"
    if not variant and name not in outputs and len(energies) == 1:
        name = energies[0]
    if name not in outputs:
        raise ModelError(f"the metatomic model has no output {name}; it has {', '.join(energies) or 'no energy'}")
    if outputs[name].sample_kind != "atom":
        raise ModelError(f"the metatomic model gives {name} of whole systems only; the flux needs atomic energies")
    return name


def _energy_unit(unit: str) -> float:
    """Size of an energy unit, eV; a model that names no unit means eV."""
    from metatomic.torch import unit_conversion_factor

    return float(unit_conversion_factor(unit, "eV")) if unit else 1.0


def _pairs(graph: Graph, options: Any, longest: float) -> Any:
    """The edges that a neighbour list requires: those within its cutoff, in one direction only for a half list."""
    from metatensor.torch import Labels, TensorBlock

    r_ij = graph.r_ij
    pairs = torch.cat([graph.receivers[:, None], graph.senders[:, None], graph.shifts], dim=1).to(torch.int32)
    cutoff = options.engine_cutoff(LENGTH_UNIT)
    kept = torch.ones(len(r_ij), dtype=torch.bool, device=r_ij.device)
    if cutoff < longest:  # all edges are in the longest list: they were selected in double precision before
        kept = torch.linalg.vector_norm(r_ij.detach().to(torch.float64), dim=1) <= cutoff
    if not options.full_list:
        kept = kept & _one_direction(pairs)
    if not bool(kept.all()):
        pairs, r_ij = pairs[kept], r_ij[kept]
    device = r_ij.device
    return TensorBlock(
        values=r_ij.reshape(-1, 3, 1),
        samples=Labels(["first_atom", "second_atom", "cell_shift_a", "cell_shift_b", "cell_shift_c"], pairs),
        components=[Labels("xyz", torch.arange(3, device=device)[:, None])],
        properties=Labels("distance", torch.zeros(1, 1, dtype=torch.int32, device=device)),
    )


def _one_direction(pairs: torch.Tensor) -> torch.Tensor:
    """True for one of the two directed edges of every pair: from the lower atom, or along the first positive shift."""
    first, second, a, b, c = pairs.T
    forward = (a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0))))
    return (first < second) | ((first == second) & forward)
