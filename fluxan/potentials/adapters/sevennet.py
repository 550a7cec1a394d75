"""SevenNet models (sevenn).

Park, Kim, Hwang, Han, J. Chem. Theory Comput. 20, 4857 (2024). Energies are in eV and lengths in Å.
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

#: Layers that follow the atomic energies and are skipped; the second one calls autograd.
AFTERWARDS = ("reduce_total_enegy", "force_output")
#: Suffix of the names of message-passing layers.
MESSAGES = "_convolution"
#: Class of layers whose output is in single precision, whatever the precision of the model.
ONE_HOT = "OnehotEmbedding"


class SevenNetPotential(ForeignPotential):
    """A SevenNet model, unmodified, run up to its atomic energies.

    Parameters
    ----------
    model : sevenn.nn.sequential.AtomGraphSequential
        The model.
    modal : str, optional
        Which data set of a multi-fidelity model to predict.

    Raises
    ------
    ModelError
        The model is of another kind, or has no such modal.
    """

    types: torch.Tensor

    def __init__(self, model: Any, *, modal: str | None = None) -> None:
        super().__init__()
        if not getattr(model, "type_map", None) or MESSAGES not in "".join(dict(model.named_children())):
            raise ModelError(f"{type(model).__name__} is no whole SevenNet model that knows its elements")
        self.model = model
        self.cutoff = float(model.cutoff)
        self.n_hops = sum(name.endswith(MESSAGES) for name, _ in model.named_children())
        self.elements = tuple(int(z) for z in model.type_map)
        self.modal = _modal_index(model.modal_map or {}, modal)
        types = torch.full((119,), -1, device=next(model.parameters()).device)
        types[list(self.elements)] = torch.tensor(list(model.type_map.values()), device=types.device)
        self.register_buffer("types", types, persistent=False)

    def forward(self, graph: Graph) -> torch.Tensor:
        """Atomic energies U_i, (n_atoms,) eV."""
        # SevenNet's edge vectors point from row 0 to row 1, as r_ij from receivers to senders.
        data = {
            "x": self.types[graph.numbers],
            "edge_index": torch.stack([graph.receivers, graph.senders]),
            "edge_vec": graph.r_ij,
            "batch": torch.zeros_like(graph.numbers),
        }
        if self.modal is not None:
            data["modal_type"] = torch.tensor([self.modal], device=graph.r_ij.device)
        with torch.jit.optimized_execution(should_optimize=False):
            for name, layer in self.model.named_children():
                if name in AFTERWARDS:
                    continue
                data = layer(data)
                if type(layer).__name__ == ONE_HOT:
                    data.update({key: t.to(graph.r_ij) for key, t in data.items() if t.is_floating_point()})
        return data["atomic_energy"][:, 0]


def load(
    path: str | Path,
    *,
    trust_pickle: bool = False,
    dtype: str | torch.dtype | None = None,
    device: str = "cpu",
    modal: str | None = None,
) -> SevenNetPotential:
    """Read a SevenNet model from a checkpoint, which is pickled.

    Parameters
    ----------
    path : str or Path
        A ``.pth`` file that SevenNet wrote.
    trust_pickle : bool
        Whether to open it. Unpickling runs whatever code the file holds.
    dtype : {"float32", "float64"}, optional
        Precision; by default that of the file.
    device : str
        Name of the torch device.
    modal : str, optional
        Which data set of a multi-fidelity model to predict.

    Raises
    ------
    FileError
        The file is missing or broken.
    ModelError
        It is not trusted, is not a SevenNet checkpoint, or has no such modal.
    DependencyError
        SevenNet is not installed.
    """
    kind = checkpoints.file_kind(path)
    if kind != "pickle":
        raise ModelError(f"{path} is no SevenNet checkpoint; expected the .pth file that its training wrote")
    checkpoints.refuse_untrusted(
        path, trusted=trust_pickle, instead="or build the model yourself and wrap it with fluxan.load_model(model)"
    )
    try:
        from sevenn.util import model_from_checkpoint
    except ImportError as error:
        raise checkpoints.missing("sevenn", "sevennet") from error
    model, _ = checkpoints.trusted_call(path, lambda: model_from_checkpoint(str(path)))
    potential = SevenNetPotential(model.to(device=device, dtype=checkpoints.real_dtype(dtype)), modal=modal)
    potential.read_from(path)
    return potential


def wrap(model: Any) -> SevenNetPotential:
    """Wrap a SevenNet model in memory, or that of a ``SevenNetCalculator``.

    Raises
    ------
    ModelError
        The model is of another kind.
    """
    if isinstance(model, torch.nn.Module):
        return SevenNetPotential(model)
    if not hasattr(model, "model"):
        raise ModelError(f"{type(model).__name__} holds more than one SevenNet model; expected SevenNetCalculator")
    return SevenNetPotential(model.model, modal=model.modal)


def _modal_index(modals: dict[str, int], modal: str | None) -> int | None:
    if not modals and modal is None:
        return None
    if modal not in modals:
        raise ModelError(f"modal={modal!r} is not known to the SevenNet model; it has {', '.join(modals) or 'none'}")
    return modals[modal]
