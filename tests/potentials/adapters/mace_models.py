"""MACE models with random weights."""

from __future__ import annotations

import copy

import numpy as np
import torch
from mace.modules import MACE, ScaleShiftMACE, interaction_classes

# isort: split
# MACE goes first: its e3nn reads its constants only with the setting that MACE makes.
from e3nn import o3
from e3nn.util import jit

from tests.message_passing import scaled_up

ELEMENTS = (1, 8)


def mace_model(n_interactions=2, *, heads=None, scaled=True, **options):
    """Two elements, vectors, weights scaled up so that every crossing counts; reference energies −1 and −2 eV."""
    kind, extra = (ScaleShiftMACE, {"atomic_inter_scale": 1.3, "atomic_inter_shift": 0.2}) if scaled else (MACE, {})
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    if scaled and heads:
        extra = {name: np.full(len(heads), value) for name, value in extra.items()}
    model = kind(
        r_max=2.6,
        num_bessel=4,
        num_polynomial_cutoff=5,
        max_ell=1,
        interaction_cls=interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=interaction_classes["RealAgnosticInteractionBlock"],
        num_interactions=n_interactions,
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps("4x0e+4x1o"),
        MLP_irreps=o3.Irreps("4x0e"),
        atomic_energies=np.array([[-1.0, -2.0], [-3.0, -5.0]][: len(heads or "1")]),
        avg_num_neighbors=8.0,
        atomic_numbers=list(ELEMENTS),
        correlation=2,
        gate=torch.nn.functional.silu,
        radial_MLP=[8, 8],
        heads=heads,
        **extra,
        **options,
    )
    torch.set_default_dtype(before)
    return scaled_up(model.eval())


def scripted(model):
    """TorchScript of a MACE model, made as its training makes it."""
    return jit.compile(copy.deepcopy(model))
