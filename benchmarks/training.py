"""What a step of training costs with and without the flux term, and how long whole fits take on 200 frames of AgI."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.build import bulk

from benchmarks.measure import interleaved
from fluxan import load_model
from fluxan.flux.local import LocalRoute
from fluxan.neighbors import build_graph
from fluxan.potentials.behler_parrinello import BehlerParrinello
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.potentials.linear_potential import LinearPotential
from fluxan.potentials.symmetry_functions import default_functions
from fluxan.system import Frame
from fluxan.training.batches import with_tables
from fluxan.training.dataset import TrainingSet
from fluxan.training.fit import TrainingRun
from fluxan.training.fit_settings import FitSettings
from fluxan.training.initial_values import fitted_offsets, set_initial_values
from fluxan.training.linear_fit import fit_linear
from fluxan.training.linear_scan import scan_linear
from fluxan.training.loss import FluxTerm, LossWeights, mean_squares, total_loss
from fluxan.training.prediction import predict
from fluxan.trajectory.labelled_frame import LabelledFrame

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.potentials.base import Potential
    from fluxan.training.batches import Batch

ELEMENTS = (47, 53)
PLAIN = LossWeights(energy=100.0, forces=1.0, virial=10.0)
WITH_FLUX = LossWeights(energy=100.0, forces=1.0, virial=10.0, flux=1e-4, term=FluxTerm(temperature=300.0))


def run(n_frames: int = 200, epochs: int = 150, repeats: int = 7) -> dict[str, Any]:
    """Milliseconds of a step on four frames, by model; seconds of fits and of the scan of a linear model."""
    torch.set_num_threads(1)
    frames = labelled_frames(n_frames)
    train, validation = TrainingSet(frames[: -n_frames // 5]), TrainingSet(frames[-n_frames // 5 :])
    functions = default_functions(ELEMENTS, cutoff=8.0, triplet_cutoff=5.0)
    network = BehlerParrinello(functions)
    set_initial_values(network, train, fitted_offsets(train))
    steps = {}
    small = TrainingSet(frames[:4])
    batch = small.batches(8.0, 4)[0]
    for name, model, given in (
        ("Behler-Parrinello", network, with_tables(network, [batch])[0]),
        ("Behler-Parrinello, descriptors computed in every step", network, batch),
        ("message passing, 2 layers", *_message_passing(2, small)),
        ("message passing, 3 layers", *_message_passing(3, small)),
    ):
        cases: dict[str, Callable[[], object]] = {
            "without flux term": lambda m=model, b=given: _step(m, b, PLAIN),
            "with flux term": lambda m=model, b=given: _step(m, b, WITH_FLUX),
        }
        steps[name] = {case: 1e3 * seconds for case, seconds in interleaved(cases, repeats=repeats).items()}
    return {
        "frames": n_frames,
        "atoms": frames[0].frame.n_atoms,
        "ms": steps,
        "seconds": _fits(network, functions, train, validation, epochs),
    }


def labelled_frames(n_frames: int) -> list[LabelledFrame]:
    """Displaced and strained wurtzite, 108 atoms, with the labels of the shipped potential."""
    rng, model = np.random.default_rng(0), load_model("shipped:agi")
    atoms = bulk("AgI", "wurtzite", a=4.60, c=7.40).repeat((3, 3, 3))
    found = []
    for k in range(n_frames):
        deform = np.eye(3) + rng.uniform(-0.015, 0.015, (3, 3))
        positions = atoms.positions @ deform + rng.normal(scale=0.12, size=atoms.positions.shape)
        frame = Frame(positions, None, np.array(atoms.cell) @ deform, atoms.numbers)
        route = LocalRoute(model)
        graph, energies, g_ij = route.pair_forces(build_graph(frame, model.cutoff))
        forces = torch.zeros(frame.n_atoms, 3, dtype=torch.float64)
        forces.index_add_(0, graph.receivers, g_ij).index_add_(0, graph.senders, -g_ij)
        virial = -torch.einsum("ea,eb->ab", graph.r_ij, g_ij)
        found.append(LabelledFrame(frame, energies.sum(), forces.numpy(), virial.numpy(), None, str(k // 10)))
    return found


def _message_passing(n_layers: int, frames: TrainingSet) -> tuple[Potential, Batch]:
    model = EquivariantNetwork(ELEMENTS, cutoff=5.0, n_layers=n_layers, n_features=16)
    return model, frames.batches(5.0, 4)[0]


def _step(model: Potential, batch: Batch, weights: LossWeights) -> None:
    model.zero_grad()
    prediction = predict(model, batch, flux=bool(weights.flux))
    total_loss(mean_squares(prediction, batch, weights), weights).backward()


def _fits(network: BehlerParrinello, functions: Any, train: Any, validation: Any, epochs: int) -> dict[str, float]:
    """Seconds of a linear fit, of the path over 8 decades, and of a network's fit."""
    seconds = {}
    begin = time.perf_counter()
    fit_linear(LinearPotential(functions), train, WITH_FLUX)
    seconds["linear model"] = time.perf_counter() - begin
    begin = time.perf_counter()
    scan_linear(LinearPotential(functions), train, validation, WITH_FLUX)
    seconds["linear model, every strength over 8 decades"] = time.perf_counter() - begin
    begin = time.perf_counter()
    settings = FitSettings(epochs=epochs, batch_size=4, learning_rate=5e-3)
    with tempfile.TemporaryDirectory() as folder:
        TrainingRun(network, train, validation, weights=WITH_FLUX, settings=settings, folder=Path(folder)).run()
    seconds[f"Behler-Parrinello, {epochs} epochs"] = time.perf_counter() - begin
    return seconds


def text(result: dict[str, Any]) -> str:
    """The same in lines."""
    lines = [f"steps on four frames of {result['atoms']} atoms"]
    for model, row in result["ms"].items():
        plain, flux = row["without flux term"], row["with flux term"]
        lines.append(f"{model:<56}{plain:8.1f} ms  {flux:8.1f} ms with flux term  {flux / plain:5.2f} x")
    lines.append(f"fits to {result['frames']} frames")
    lines += [f"{name:<56}{seconds:8.1f} s" for name, seconds in result["seconds"].items()]
    return "\n".join(lines)
