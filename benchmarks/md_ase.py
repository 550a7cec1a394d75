"""What a heat flux costs at a step of molecular dynamics, over the forces that the step needs anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet

from benchmarks.measure import interleaved
from benchmarks.systems import argon_crystal
from fluxan import load_model
from fluxan.flux.evaluate import FluxEvaluator
from fluxan.md.ase import FluxanCalculator, FluxRecorder
from fluxan.md.evaluation import Evaluation
from fluxan.neighbors import NeighborList
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.units import MASS_VELOCITY2

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.potentials.base import Potential
    from fluxan.system import Frame

EVERY = 10


def run(n_cells: int = 4, repeats: int = 5) -> dict[str, Any]:
    """Milliseconds of each way to forces and flux, and of whole steps in ASE, by model."""
    frame = argon_crystal(n_cells)
    mixture = frame.replace(numbers=np.resize([18, 36], frame.n_atoms), masses=None)
    network = EquivariantNetwork([18, 36], cutoff=5.5, n_features=8, seed=1)
    cases = {
        "lennard-jones": (load_model("shipped:ar"), frame),
        "network, 2 layers": (network, frame.replace(numbers=np.full(frame.n_atoms, 18))),
        "network, 2 elements": (network, mixture),
    }
    rows = {name: _evaluations(*case, repeats) | _steps(*case, repeats) for name, case in cases.items()}
    return {"atoms": frame.n_atoms, "every": EVERY, "ms": rows}


def _evaluations(model: Potential, frame: Frame, repeats: int) -> dict[str, float]:
    evaluator = FluxEvaluator(model, frame.numbers)
    alone, shared, separate = (Evaluation(evaluator) for _ in range(3))
    neighbors = NeighborList(model.cutoff)

    def both() -> None:
        shared.at(frame, flux=True)
        shared.flux(frame.velocities)

    def apart() -> None:
        separate.at(frame)
        evaluator.flux(frame, neighbors.graph(frame))

    cases: dict[str, Callable[[], object]] = {
        "forces": lambda: alone.at(frame),
        "forces and flux, one evaluation": both,
        "forces and flux, two evaluations": apart,
    }
    return {name: 1e3 * seconds for name, seconds in interleaved(cases, repeats=repeats).items()}


def _steps(model: Potential, frame: Frame, repeats: int) -> dict[str, float]:
    """Whole steps of velocity Verlet in ASE, without and with a flux every so many."""
    runs: dict[str, Callable[[], object]] = {}
    for name in ("ASE step", f"ASE step, a flux every {EVERY}"):
        atoms = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=True)
        atoms.set_velocities(frame.velocities * MASS_VELOCITY2**0.5)
        atoms.calc = FluxanCalculator(model)
        dynamics = VelocityVerlet(atoms, 2 * units.fs)
        if "flux" in name:
            dynamics.attach(FluxRecorder(atoms), interval=EVERY)
        runs[name] = lambda dynamics=dynamics: dynamics.run(2 * EVERY)
    return {name: 1e3 * seconds / (2 * EVERY) for name, seconds in interleaved(runs, repeats=repeats).items()}


def text(result: dict[str, Any]) -> str:
    """The same in lines."""
    lines = [f"{result['atoms']} atoms"]
    for model, row in result["ms"].items():
        base = row["forces"]
        lines += [f"{model:<22}{name:<36}{ms:9.2f} ms  {ms / base:5.2f} x forces" for name, ms in row.items()]
    return "\n".join(lines)
