"""MACE models (mace-torch), eager and TorchScript.

Batatia, Kovács, Simm, Ortner, Csányi, NeurIPS 2022, arXiv:2206.07697. MACE's energies are in eV and its lengths in Å by
convention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from fluxan.errors import ModelError
from fluxan.potentials.adapters import _checkpoints as checkpoints
from fluxan.potentials.adapters._checkpoints import ForeignPotential

if TYPE_CHECKING:
    from pathlib import Path

    from fluxan.system import Graph

#: Classes whose energies depend only on the graph; others of the package add long-range terms (Ewald sums).
CLASSES = ("MACE", "ScaleShiftMACE")
INSTEAD = "or give the TorchScript file that MACE's training writes beside it (*_compiled.model)"


class MacePotential(ForeignPotential):
    """A MACE model, unmodified.

    Parameters
    ----------
    model : mace.modules.MACE or mace.modules.ScaleShiftMACE
        The model, also scripted.
    head : str, optional
        Which of the model's heads gives the energies; by default its only one, or the one called "default".
    energy_unit : float
        eV per unit of energy of the model.

    Raises
    ------
    ModelError
        The model is of another kind, or has no such head.
    """

    species: torch.Tensor

    def __init__(self, model: Any, *, head: str | None = None, energy_unit: float = 1.0) -> None:
        super().__init__()
        name = getattr(model, "original_name", type(model).__name__)
        if name not in CLASSES:
            raise ModelError(f"{name} is no MACE model with energies on a graph; expected {' or '.join(CLASSES)}")
        self.model = model
        self.cutoff, self.n_hops = float(model.r_max), int(model.num_interactions)
        self.elements = tuple(int(z) for z in model.atomic_numbers)
        self.heads = tuple(str(h) for h in getattr(model, "heads", None) or ("default",))
        self.head = _choose_head(self.heads, head)
        self.energy_unit = float(energy_unit)
        species = torch.full((119,), -1, device=model.r_max.device)
        species[list(self.elements)] = torch.arange(len(self.elements), device=species.device)
        self.register_buffer("species", species, persistent=False)

    def forward(self, graph: Graph) -> torch.Tensor:
        """Atomic energies U_i, reference energies E0 included, (n_atoms,) eV."""
        # Without fusion: fused operators would hide the edges' crossings from the adjoint route.
        with torch.jit.optimized_execution(should_optimize=False):
            result = self.model(self._data(graph), training=False, compute_force=False)
        return self.energy_unit * result["node_energy"]

    def _data(self, graph: Graph) -> dict[str, torch.Tensor]:
        """The graph as MACE takes it, whose vectors point from senders (row 0) to receivers (row 1).

        MACE forms its vectors from positions and shifts; with all positions zero, the shifts are the edge vectors, and
        what the model depends on is the graph's own r_ij.
        """
        device = graph.r_ij.device
        types = torch.arange(len(self.elements), device=device)
        return {
            "positions": torch.zeros_like(graph.positions),
            "shifts": -graph.r_ij,
            "unit_shifts": torch.zeros_like(graph.r_ij),
            "cell": graph.r_ij.new_zeros(3, 3),
            "edge_index": torch.stack([graph.senders, graph.receivers]),
            "node_attrs": (self.species[graph.numbers, None] == types).to(graph.r_ij.dtype),
            "batch": torch.zeros_like(graph.numbers),
            "ptr": torch.tensor([0, graph.n_atoms], device=device),
            "head": torch.tensor([self.heads.index(self.head)], device=device),
        }


def load(
    path: str | Path,
    *,
    trust_pickle: bool = False,
    dtype: str | torch.dtype | None = None,
    device: str = "cpu",
    head: str | None = None,
) -> MacePotential:
    """Read a MACE model from a file.

    Parameters
    ----------
    path : str or Path
        A TorchScript file, for which MACE need not be installed, or a pickled model (MACE's ``.model``).
    trust_pickle : bool
        Whether to open a pickled file. Unpickling runs whatever code the file holds.
    dtype : {"float32", "float64"}, optional
        Precision; by default that of the file.
    device : str
        Name of the torch device.
    head : str, optional
        Which of its heads gives the energies.

    Raises
    ------
    FileError
        The file is missing or broken.
    ModelError
        It is pickled and not trusted, is not a MACE model, or has no such head.
    DependencyError
        It is pickled and MACE is not installed.
    """
    kind = checkpoints.file_kind(path)
    if kind == "torchscript":
        model: Any = checkpoints.open_script(path, device)
    elif kind == "pickle":
        checkpoints.refuse_untrusted(path, trusted=trust_pickle, instead=INSTEAD)
        _import_mace()
        model = checkpoints.trusted_call(path, lambda: torch.load(path, map_location=device, weights_only=False))
    else:
        raise ModelError(f"{path} is no MACE model; expected a TorchScript file or what MACE saves as .model")
    if not isinstance(model, torch.nn.Module):
        raise ModelError(f"{path} holds a {type(model).__name__}, no MACE model; is it a training checkpoint?")
    potential = MacePotential(model.to(dtype=checkpoints.real_dtype(dtype)), head=head)
    potential.read_from(path)
    return potential


def wrap(model: Any) -> MacePotential:
    """Wrap a MACE model in memory, or that of a ``mace.calculators.MACECalculator``.

    Raises
    ------
    ModelError
        The model is of another kind, or the calculator holds a committee or rescales lengths.
    """
    if isinstance(model, torch.nn.Module):
        return MacePotential(model)
    if model.length_units_to_A != 1.0:
        raise ModelError(f"the MACE calculator takes lengths in units of {model.length_units_to_A} Å; expected Å")
    return MacePotential(
        checkpoints.only_one(model.models, "MACE"), head=model.head, energy_unit=model.energy_units_to_eV
    )


def _import_mace() -> None:
    # MACE is imported before e3nn: with torch ≥ 2.6 its version of e3nn can read its own constants only after a setting
    # that MACE makes.
    try:
        import mace.modules  # noqa: F401
    except ImportError as error:
        raise checkpoints.missing("mace-torch", "mace") from error


def _choose_head(heads: tuple[str, ...], head: str | None) -> str:
    if head is None:
        defaults = heads if len(heads) == 1 else [h for h in heads if h.lower() == "default"]
        if len(defaults) != 1:
            raise ModelError(f"the MACE model has the heads {', '.join(heads)}; choose one with head=")
        return defaults[0]
    if head not in heads:
        raise ModelError(f"the MACE model has no head {head!r}; it has {', '.join(heads)}")
    return head
