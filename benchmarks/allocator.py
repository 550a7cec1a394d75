"""What a message-passing model gains where glibc keeps memory between evaluations (`fluxan.allocator`)."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.measure import peak_resident
from benchmarks.message_passing import ELEMENTS, crystal, energy_and_forces, mace_model
from fluxan.allocator import SWITCH, keep_memory
from fluxan.flux.adjoint import AdjointRoute
from fluxan.neighbors import build_graph
from fluxan.potentials.equivariant import EquivariantNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
#: 216 atoms of MACE, and 512 of a network of three layers, both in float64.
SYSTEMS = ("MACE", "network")
TASKS = ("energy and forces", "virials")


def run(turns: int = 3) -> dict[str, Any]:
    """Seconds of the processor, page faults and peak memory of both systems, before and after."""
    return {system: compare(system, turns) for system in SYSTEMS}


def compare(system: str, turns: int) -> dict[str, Any]:
    """Medians over turns with glibc's own thresholds ("before") and raised ones ("after"), and their ratios.

    Thresholds hold for a process, so each turn is one of its own.
    """
    found: dict[str, list[dict[str, Any]]] = {"before": [], "after": []}
    for _ in range(turns):
        for name, switch in (("before", "0"), ("after", "1")):
            command = [sys.executable, "-m", "benchmarks.allocator", system]
            environment = os.environ | {SWITCH: switch}
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    medians = {
        name: {key: statistics.median(one[key] for one in measured) for key in measured[0]}
        for name, measured in found.items()
    }
    return medians | {"speed_up": {task: medians["before"][task] / medians["after"][task] for task in TASKS}}


def turn(system: str) -> dict[str, float]:
    """Measure one system in this process; the child of `compare`."""
    torch.set_num_threads(1)
    keep_memory()
    if system == "MACE":
        model, frame = mace_model(), crystal(3, ELEMENTS[:2])
    else:
        model, frame = EquivariantNetwork(ELEMENTS, n_layers=3, n_neighbors=49.0).double(), crystal(4, ELEMENTS[:2])
    graph, route = build_graph(frame, model.cutoff), AdjointRoute(model)
    found: dict[str, float] = {}
    for name, task in zip(
        TASKS, (lambda: energy_and_forces(model, graph), lambda: route.atomic_virial(graph)), strict=True
    ):
        found[name], found[f"{name}, page faults"] = cost(task)
    return found | {"peak_mib": peak_resident()}


def cost(task: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    """Median seconds of the processor and page faults of a task that was done once before."""
    task()
    used = []
    for _ in range(repeats):
        begin = resource.getrusage(resource.RUSAGE_SELF)
        task()
        end = resource.getrusage(resource.RUSAGE_SELF)
        seconds = end.ru_utime - begin.ru_utime + end.ru_stime - begin.ru_stime
        used.append((seconds, end.ru_minflt - begin.ru_minflt))
    return statistics.median(s for s, _ in used), statistics.median(n for _, n in used)


def text(result: dict[str, Any]) -> str:
    """Lay the result out as lines to read."""
    lines = []
    for system, found in result.items():
        before, after = found["before"], found["after"]
        for task in TASKS:
            faults = f"{before[f'{task}, page faults']:.0f} -> {after[f'{task}, page faults']:.0f} page faults"
            lines.append(f"  {system:8} {task:18} {found['speed_up'][task]:.2f} x as fast, {faults}")
        lines.append(f"  {system:8} peak memory {before['peak_mib']:.0f} -> {after['peak_mib']:.0f} MiB")
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(turn(sys.argv[1])))
