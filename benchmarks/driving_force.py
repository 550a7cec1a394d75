"""Cost of the driving force of HNEMD, over one energy-and-forces evaluation of message-passing models.

    python -m benchmarks.run driving_force [--json FILE]

Networks of two and three layers, and a MACE model with random weights, 216 atoms, one thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks.measure import interleaved
from benchmarks.message_passing import ELEMENTS, crystal, mace_model
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.md.evaluation import Evaluation
from fluxan.md.hnemd import DrivingForce
from fluxan.potentials.equivariant import EquivariantNetwork

if TYPE_CHECKING:
    import numpy as np


def run(repeats: int = 15) -> dict[str, Any]:
    """Median seconds of forces alone, with the driving force, and with the whole flux, taking turns."""
    torch.set_num_threads(1)
    frame = crystal(3, ELEMENTS[:2])
    models = {f"network, {n} layers": EquivariantNetwork(ELEMENTS[:2], n_layers=n).double() for n in (2, 3)}
    found = {}
    for name, model in (models | {"MACE, 2 layers": mace_model()}).items():
        evaluation = Evaluation(FluxEvaluator(model, frame.numbers, groups=[""] * frame.n_atoms))
        force = DrivingForce((1e-3, 0, 0), masses=frame.masses)

        def forces(*, flux: bool = False, evaluation: Evaluation = evaluation) -> np.ndarray:
            return evaluation.at(frame, flux=flux).energies

        def driven(evaluation: Evaluation = evaluation, force: DrivingForce = force) -> np.ndarray:
            energies = forces(flux=True, evaluation=evaluation)
            return force.forces(evaluation.virial_force(force.field), energies, frame.velocities)

        def with_flux(evaluation: Evaluation = evaluation) -> object:
            forces(flux=True, evaluation=evaluation)
            return evaluation.flux(frame.velocities)

        runs = {"forces": forces, "forces and driving force": driven, "forces and flux": with_flux}
        found[name] = interleaved(runs, repeats=repeats)
    return found


def text(found: dict[str, Any]) -> str:
    """Ratios to the forces alone."""
    lines = []
    for name, seconds in found.items():
        ratios = ", ".join(f"{what} {value / seconds['forces']:.2f}" for what, value in seconds.items())
        lines.append(f"{name}: {1e3 * seconds['forces']:.3g} ms; {ratios}")
    return "\n".join(lines)
