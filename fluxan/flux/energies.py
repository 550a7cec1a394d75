"""Evaluates a model for all routes: its dtype, device and range, and atomic energies that can be differentiated."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

from fluxan.errors import FluxanError, ModelError
from fluxan.potentials.base import Potential

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxan.system import Graph

#: Base classes of layers whose output differs between training and evaluation: dropout, batch normalisation.
MODE_DEPENDENT = ("_DropoutNd", "_NormBase")


def model_name(model: torch.nn.Module) -> str:
    """Return the name of a model for messages: that of its class, even if it is scripted."""
    return getattr(model, "original_name", type(model).__name__)


def model_dtype(model: torch.nn.Module) -> torch.dtype:
    """Return a model's precision: its own `dtype` if it names one, else that of its first real tensor, else float64."""
    dtype = getattr(model, "dtype", None)
    if isinstance(dtype, torch.dtype):
        return dtype
    return next((t.dtype for t in _tensors(model) if t.is_floating_point()), torch.float64)


def model_device(model: torch.nn.Module) -> torch.device:
    """Return the device of a model's tensors; the CPU if it has none.

    Raises
    ------
    ModelError
        The tensors are on several devices, or on none ("meta").
    """
    devices = sorted({str(t.device) for t in _tensors(model)})
    if len(devices) > 1 or "meta" in devices:
        where = "no device (meta)" if devices == ["meta"] else " and ".join(devices)
        raise ModelError(f"{model_name(model)}: its tensors lie on {where}; move the model to one device with .to()")
    return torch.device(devices[0] if devices else "cpu")


def model_reach(model: torch.nn.Module) -> int:
    """Return the number of edges (hops) over which an atomic energy extends; 1 if the model does not declare it."""
    return int(getattr(model, "n_hops", 1))


def model_graph(model: torch.nn.Module, graph: Graph) -> Graph:
    """Return the graph in the model's dtype and on its device.

    Raises
    ------
    ModelError
        The model's tensors are on several devices, or in half precision.
    """
    dtype = model_dtype(model)
    if dtype not in (torch.float32, torch.float64):
        raise ModelError(f"{model_name(model)} computes in {dtype}; convert it with .float() or .double()")
    return graph.to(dtype=dtype, device=model_device(model))


def atomic_energies(model: torch.nn.Module, graph: Graph, *, training: bool = False) -> torch.Tensor:
    """Evaluate the atomic energies of a graph that is already in the model's dtype and on its device.

    Parameters
    ----------
    model : torch.nn.Module
        See `fluxan.potentials.base.Potential`.
    graph : Graph
        Its positions or edge vectors must require gradients.
    training : bool
        Accept a model in training mode.

    Returns
    -------
    torch.Tensor
        U_i, (n_atoms,) eV, finite, attached to the autograd graph.

    Raises
    ------
    ModelError
        The model is in training mode or is called under ``torch.no_grad``, raises an exception, or does not return one
        finite, differentiable energy per atom.
    """
    name = model_name(model)
    if not training:
        _refuse_training(model)
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        raise ModelError(f"{name} was called under torch.no_grad(); the flux needs gradients: call it outside")
    try:
        energies = model(graph)
    except FluxanError:
        raise
    except Exception as error:  # a model may raise anything
        reason = str(error).strip().splitlines()
        why = f"{type(error).__name__}: {reason[-1]}" if reason else repr(error)
        raise ModelError(f"{name} failed on {graph.n_atoms} atoms: {why}") from error
    _check_form(name, energies, graph)
    if not torch.isfinite(energies).all():
        atom = int(torch.nonzero(~torch.isfinite(energies.detach()))[0])
        raise ModelError(f"{name} gives atom {atom} the energy {energies[atom].item()}; energies must be finite")
    if graph.n_edges and not energies.requires_grad:
        raise detached(model)
    return energies


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Copy a tensor to the CPU, as a C-contiguous float64 array."""
    return np.ascontiguousarray(tensor.detach().to(device="cpu", dtype=torch.float64).numpy())


def detached(model: torch.nn.Module) -> ModelError:
    """Error about energies that, for autograd, do not depend on the positions."""
    return ModelError(
        f"{model_name(model)} returns energies detached from the positions: its forward must not use "
        "torch.no_grad(), .detach(), .item() or NumPy between graph.r_ij (or graph.positions) and the energies"
    )


def _tensors(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    return chain(model.parameters(), model.buffers())


def _refuse_training(model: torch.nn.Module) -> None:
    """Raise `ModelError` for a model in training mode, if the user set that mode or it changes the energies.

    A new torch module is in training mode, whereas a new `Potential` is not.
    """
    layer = next((m for m in model.modules() if m.training and _depends_on_mode(m)), None)
    if (isinstance(model, Potential) and model.training) or layer is not None:
        which = f" (its layer {type(layer).__name__} acts differently there)" if layer is not None else ""
        raise ModelError(f"{model_name(model)} is in training mode{which}: call model.eval() first")


def _depends_on_mode(layer: torch.nn.Module) -> bool:
    return any(base.__name__ in MODE_DEPENDENT for base in type(layer).__mro__)


def _check_form(name: str, energies: object, graph: Graph) -> None:
    """Raise `ModelError` unless energies are an (n_atoms,) tensor in the dtype and on the device of the graph."""
    expected = f"expected ({graph.n_atoms},) atomic energies in eV"
    if not isinstance(energies, torch.Tensor):
        raise ModelError(f"{name} returned a {type(energies).__name__}, {expected}")
    shape = tuple(energies.shape)
    if shape == () or (energies.numel() == 1 and graph.n_atoms != 1):
        raise ModelError(f"{name} returned a total instead of atomic energies: shape {shape}, {expected}")
    if shape != (graph.n_atoms,):
        raise ModelError(f"{name} returned energies of shape {shape}, {expected}")
    if not energies.is_floating_point():
        raise ModelError(f"{name} returned energies of dtype {energies.dtype}, {expected} as floating point")
    if torch.finfo(energies.dtype).bits < torch.finfo(graph.positions.dtype).bits:
        raise ModelError(f"{name} returned {energies.dtype} for a graph in {graph.positions.dtype}, {expected} in that")
    if energies.device != graph.positions.device:
        raise ModelError(f"{name} returned energies on {energies.device}, expected {graph.positions.device}")
