"""Heat flux of message-passing models: cost over one energy-and-forces evaluation, and over what peers do.

    python -m benchmarks.message_passing [--model FILE] [--json FILE]

Without a model, networks of several sizes and a MACE model with random weights are made; one case of 512 is also
run by unfolding and by metatomic.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.measure import interleaved, machine, peak_resident
from fluxan.allocator import keep_memory
from fluxan.flux.adjoint import AdjointRoute, ForwardPass
from fluxan.flux.crossings import find_crossings
from fluxan.flux.energies import model_graph
from fluxan.flux.unfolded import UnfoldedRoute
from fluxan.neighbors import build_graph
from fluxan.potentials import load_model
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.system import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.potentials.base import Potential
    from fluxan.system import Graph

#: Å; 49 neighbours within 5 Å.
LATTICE = 4.45
ELEMENTS = (6, 14, 32)
#: Cells along each direction, layers, elements, dtype, unfolded and metatomic besides.
CASES = (
    (2, 2, 2, "float64", False),
    (3, 2, 2, "float64", False),
    (4, 2, 2, "float64", True),
    (4, 2, 2, "float32", False),
    (4, 3, 2, "float64", False),
    (4, 2, 3, "float64", False),
)
ROOT = Path(__file__).parents[1]


def crystal(n_cells: int, elements: tuple[int, ...], *, seed: int = 0) -> Frame:
    """A shaken diamond lattice, 8 atoms per cell, elements at random."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(*[np.arange(n_cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    face_centered = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    sites = LATTICE * (corners + np.concatenate([face_centered, face_centered + 0.25])).reshape(-1, 3)
    return Frame(
        positions=sites + rng.normal(scale=0.05, size=sites.shape),
        velocities=rng.normal(size=sites.shape),
        cell=LATTICE * n_cells * np.eye(3),
        numbers=rng.permutation(np.resize(elements, len(sites))),
    )


def energy_and_forces(model: Potential, graph: Graph) -> torch.Tensor:
    """The ordinary evaluation that everything is compared with."""
    graph = model_graph(model, graph)
    moves = torch.zeros_like(graph.positions, requires_grad=True)
    r_ij = graph.r_ij + (moves.index_select(0, graph.senders) - moves.index_select(0, graph.receivers))
    energy = model(graph.replace(positions=graph.positions + moves, r_ij=r_ij)).sum()
    return torch.autograd.grad(energy, moves)[0]


def contestants(model: Potential, frame: Frame, graph: Graph) -> dict[str, Callable[[], object]]:
    """What is timed on the periodic graph."""
    route = AdjointRoute(model)
    _, groups = np.unique(frame.numbers, return_inverse=True)
    kept = ForwardPass(model, model_graph(model, graph))
    one = np.zeros_like(groups)
    return {
        "energy and forces": lambda: energy_and_forces(model, graph),
        "virials": lambda: route.atomic_virial(graph),
        "flux": lambda: route.potential_flux(graph, frame.velocities, one, 1),
        "owner x carrier": lambda: route.potential_flux(graph, frame.velocities, groups, int(groups.max()) + 1),
        "neighbour list": lambda: build_graph(frame, model.cutoff),
        "crossing search": lambda: find_crossings(kept.energies, kept.displacements, kept.graph),
    }


def unfolders(model: Potential, frame: Frame, graph: Graph) -> dict[str, Callable[[], object]]:
    """What peers do: our own unfolding, and metatomic's."""
    from benchmarks.metatomic_flux import metatomic_flux

    route, one = UnfoldedRoute(model), np.zeros(frame.n_atoms, dtype=np.int64)
    runs = {
        "unfolded flux": lambda: route.potential_flux(graph, frame.velocities, one, 1),
        "unfolded virials": lambda: route.atomic_virial(graph),
    }
    # metatomic runs what TorchScript compiles.
    return runs | ({"metatomic flux": lambda: metatomic_flux(model, frame)} if _is_network(model) else {})


def _is_network(model: Potential) -> bool:
    return isinstance(model, EquivariantNetwork)


def mace_model() -> Potential:
    """A MACE model of ordinary size with random weights: 2 layers, 64 scalars and vectors, 5 Å, float64."""
    import mace.modules as mace

    # isort: split
    from e3nn import o3

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    model = mace.ScaleShiftMACE(
        r_max=5.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=mace.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=mace.interaction_classes["RealAgnosticResidualInteractionBlock"],
        num_interactions=2,
        num_elements=2,
        hidden_irreps=o3.Irreps("64x0e+64x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.zeros((1, 2)),
        avg_num_neighbors=49.0,
        atomic_numbers=list(ELEMENTS[:2]),
        correlation=3,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )
    torch.set_default_dtype(torch.float32)
    return load_model(model.eval())


def measure(model: Potential, frame: Frame, *, unfold: bool, repeats: int) -> dict[str, Any]:
    """Median seconds of everything for one model and frame, taking turns."""
    graph = build_graph(frame, model.cutoff)
    runs = contestants(model, frame, graph)
    if unfold:
        runs |= unfolders(model, frame, graph)
    seconds = interleaved(runs, repeats=repeats)
    return {"n_atoms": frame.n_atoms, "n_edges": graph.n_edges, "n_hops": model.n_hops, "seconds": seconds}


def peak_memory(task: str, model: str | None) -> float:
    """Peak resident memory in MiB that a task adds, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.message_passing", "--peak", task]
    command += ["--model", model] if model else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def peak_of(task: str, model: Potential) -> float:
    """Peak resident memory in MiB that a task adds on 512 atoms; the child of `peak_memory`."""
    elements = model.elements or ELEMENTS
    small, large = crystal(1, elements[:2]), crystal(4, elements[:2])
    graph = build_graph(large, model.cutoff)
    contestants(model, small, build_graph(small, model.cutoff))[task]()
    before = peak_resident()
    # Not `contestants`: it keeps a forward pass.
    energy_and_forces(model, graph) if task == "energy and forces" else AdjointRoute(model).atomic_virial(graph)
    return peak_resident() - before


def run(model: str | None = None, repeats: int = 5) -> dict[str, Any]:
    """All cases; for a model from a file, the one with 512 atoms."""
    torch.set_num_threads(1)
    keep_memory()
    if model is not None:
        loaded = load_model(model)
        frame = crystal(4, (loaded.elements or ELEMENTS)[:2])
        cases = [{"model": model, **measure(loaded, frame, unfold=True, repeats=repeats)}]
    else:
        cases = [_network_case(*case, repeats=repeats) for case in CASES]
        # Unfolded, 512 atoms of MACE are some 8,000: the smaller crystal shows the ratio in less memory.
        for n_cells, unfold in ((4, False), (3, True)):
            found = measure(mace_model(), crystal(n_cells, ELEMENTS[:2]), unfold=unfold, repeats=3 - 2 * unfold)
            cases.append({"model": "MACE", **found})
    tasks = ("energy and forces", "virials")
    return {"cases": cases, "peak_mib": {task: peak_memory(task, model) for task in tasks}}


def _network_case(
    n_cells: int, n_layers: int, n_elements: int, dtype: str, unfold: bool, *, repeats: int
) -> dict[str, Any]:
    network = EquivariantNetwork(ELEMENTS, n_layers=n_layers, n_neighbors=49.0).to(getattr(torch, dtype))
    found = measure(network, crystal(n_cells, ELEMENTS[:n_elements]), unfold=unfold, repeats=repeats)
    return {"model": "network", "dtype": dtype, "n_elements": n_elements, **found}


def text(result: dict[str, Any]) -> str:
    """Lay the result out as lines to read."""
    lines = []
    for case in result["cases"]:
        seconds = dict(case["seconds"])
        unit = seconds.pop("energy and forces")
        what = ", ".join(f"{key} {value}" for key, value in case.items() if key != "seconds")
        lines += [f"  {what}", f"    energy and forces {unit:.4g} s; over it:"]
        lines += [f"      {name:18} {value / unit:8.3f}" for name, value in seconds.items()]
        lines += [
            f"      {name:18} {seconds[name] / seconds['flux']:8.3f} over the adjoint route's flux"
            for name in ("unfolded flux", "metatomic flux")
            if name in seconds
        ]
    peaks = result["peak_mib"]
    ratio = peaks["virials"] / peaks["energy and forces"]
    return "\n".join([*lines, f"  peak memory, 512 atoms: {peaks} MiB, ratio {ratio:.2f}"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="anything that fluxan.load_model takes")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        torch.set_num_threads(1)
        print(peak_of(options.peak, load_model(options.model or EquivariantNetwork(ELEMENTS))))
        return
    result = run(options.model, options.repeats)
    print(text(result))
    if options.json:
        numbers = {"machine": machine(), "message_passing": result}
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
