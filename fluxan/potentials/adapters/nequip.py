"""NequIP and Allegro models (nequip, nequip-allegro).

Batzner et al., Nat. Commun. 13, 2453 (2022); Musaelian et al., Nat. Commun. 14, 579 (2023). Energies are in eV and
lengths in Å by convention.
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

#: Modules that call autograd in their `forward`; the energies are those of the module that they wrap.
DERIVATIVES = ("ForceStressOutput", "PartialForceOutput")
#: Class of a message-passing layer; a model without one (Allegro) is local.
MESSAGES = "ConvNetLayer"
#: The files that can be read, for error messages.
KINDS = "what its training (.ckpt) or nequip-package (.nequip.zip) wrote"


class NequipPotential(ForeignPotential):
    """A NequIP or Allegro model, unmodified but for its force output.

    Parameters
    ----------
    model : nequip.nn.GraphModel
        The model.
    energy_unit : float
        eV per unit of energy of the model.

    Raises
    ------
    ModelError
        The model is of another kind, or its types are not elements.
    """

    types: torch.Tensor

    def __init__(self, model: Any, *, energy_unit: float = 1.0) -> None:
        super().__init__()
        metadata = getattr(model, "metadata", None)
        if not (getattr(model, "is_graph_model", False) and metadata):
            raise ModelError(f"{type(model).__name__} is no NequIP model that knows its types and cutoff")
        self.model = model
        self.cutoff = float(metadata["r_max"])
        self.n_hops = max(1, sum(type(module).__name__ == MESSAGES for module in model.modules()))
        self.elements = _atomic_numbers(metadata["type_names"].split())
        self.energy_unit = float(energy_unit)
        types = torch.full((119,), -1, device=next(model.parameters()).device)
        types[list(self.elements)] = torch.arange(len(self.elements), device=types.device)
        self.register_buffer("types", types, persistent=False)

    def forward(self, graph: Graph) -> torch.Tensor:
        """Atomic energies U_i, (n_atoms,) eV."""
        energies = self.model.model
        while type(energies).__name__ in DERIVATIVES:
            energies = energies.func
        # NequIP's edge vectors point from row 0 to row 1, as r_ij from receivers to senders.
        data = {
            "pos": graph.positions,
            "edge_index": torch.stack([graph.receivers, graph.senders]),
            "edge_vectors": graph.r_ij,
            "atom_types": self.types[graph.numbers],
        }
        with torch.jit.optimized_execution(should_optimize=False):
            result = energies(data)
        return self.energy_unit * result["atomic_energy"][:, 0]


def load(path: str | Path, *, trust_pickle: bool = False, device: str = "cpu") -> NequipPotential:
    """Read a NequIP or Allegro model from a training checkpoint or a package; both are pickled.

    Parameters
    ----------
    path : str or Path
        A ``.ckpt`` or ``.nequip.zip`` file.
    trust_pickle : bool
        Whether to open it. Unpickling runs whatever code the file holds.
    device : str
        Name of the torch device.

    Raises
    ------
    FileError
        The file is missing or broken.
    ModelError
        It is not trusted, is compiled, or is not a NequIP model.
    DependencyError
        NequIP is not installed.
    """
    kind = checkpoints.file_kind(path)
    if kind in ("torchscript", "aotinductor"):
        raise ModelError(f"{path} is a compiled model, which cannot be looked into; give {KINDS}")
    if kind not in ("pickle", "package"):
        raise ModelError(f"{path} is no NequIP model; expected {KINDS}")
    checkpoints.refuse_untrusted(
        path, trusted=trust_pickle, instead="or build the model yourself and wrap it with fluxan.load_model(model)"
    )
    try:
        from nequip.model.saved_models.load_utils import load_saved_model
        from nequip.utils.global_state import set_global_state
    except ImportError as error:
        raise checkpoints.missing("nequip", "nequip") from error
    set_global_state()  # needed before NequIP builds a model
    model = checkpoints.trusted_call(path, lambda: load_saved_model(str(path)))
    potential = NequipPotential(model.to(device))
    potential.read_from(path)
    return potential


def wrap(model: Any) -> NequipPotential:
    """Wrap a NequIP or Allegro model in memory, or that of a ``NequIPCalculator``.

    Raises
    ------
    ModelError
        The model is of another kind, or the calculator rescales lengths.
    """
    if isinstance(model, torch.nn.Module):
        return NequipPotential(model)
    if model.length_units_to_A != 1.0:
        raise ModelError(f"the NequIP calculator takes lengths in units of {model.length_units_to_A} Å; expected Å")
    return NequipPotential(model.model, energy_unit=model.energy_units_to_eV)


def _atomic_numbers(names: list[str]) -> tuple[int, ...]:
    from ase.data import atomic_numbers

    strangers = [name for name in names if name not in atomic_numbers]
    if strangers:
        raise ModelError(f"the NequIP model's types {', '.join(strangers)} are no elements; expected chemical symbols")
    return tuple(atomic_numbers[name] for name in names)
