"""The pair-flux kernel against vectorised NumPy and against the read bandwidth, all measured in one run.

``python -m benchmarks.kernels [--atoms N] [--repeats N] [--json FILE]``

Edges are those of a disordered argon-like crystal (63 neighbours within 8.5 Å) as `fluxan.neighbors` delivers them:
in vesin's order, atoms numbered along the lattice, so that the atoms of an edge lie near in memory, as in a liquid
whose atoms are sorted in space. Repeats of all contestants alternate, and the fastest of each counts: on a shared
machine the others only ever slow a run down. Bytes per edge are what is read once and in order, two indices and two
vectors; the gathered velocities and groups come from cache and are not counted.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from fluxan.kernels import cpu

from fluxan.neighbors import build_graph
from fluxan.system import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

CUTOFF = 8.5  # Å
LATTICE = 5.46  # Å; 63 neighbours within the cutoff
DISPLACEMENT = 0.45  # Å, standard deviation
N_GROUPS = 3
TARGETS = {"over_numpy": 10.0, "of_bandwidth float64": 0.60, "of_bandwidth float32": 0.45, "threads_2_over_1": 1.7}


def liquid(n_atoms: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Edges and atoms of a disordered fcc box of about `n_atoms` atoms; g_ij along r_ij, as pair forces are."""
    rng = np.random.default_rng(seed)
    side = max(4, round((n_atoms / 4) ** (1 / 3)))
    basis = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    corners = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = ((corners + basis) * LATTICE).reshape(-1, 3)
    positions += rng.normal(0, DISPLACEMENT, positions.shape)
    frame = Frame(positions, None, np.eye(3) * side * LATTICE, np.full(len(positions), 18))
    graph = build_graph(frame, CUTOFF)
    senders, receivers, r_ij = graph.senders.numpy(), graph.receivers.numpy(), graph.r_ij.numpy()
    n_edges = len(senders)
    return {
        "receivers": receivers,
        "senders": senders,
        "r_ij": r_ij,
        "g_ij": r_ij * rng.normal(size=(n_edges, 1)),
        "velocities": rng.normal(size=positions.shape),
        "groups": rng.integers(0, N_GROUPS, len(positions)),
    }


def numpy_bincount(receivers, senders, r_ij, g_ij, velocities, groups, flux):
    """Plain NumPy with one weighted histogram per component."""
    power = np.einsum("ij,ij->i", g_ij, velocities[senders])
    slot = groups[receivers] * N_GROUPS + groups[senders]
    for a in range(3):
        flux[..., a] = -np.bincount(slot, r_ij[:, a] * power, N_GROUPS**2).reshape(N_GROUPS, N_GROUPS)


def numpy_masks(receivers, senders, r_ij, g_ij, velocities, groups, flux):
    """Plain NumPy with one matrix product of masked powers per owner."""
    power = np.einsum("ij,ij->i", g_ij, velocities[senders])
    slot = groups[receivers] * N_GROUPS + groups[senders]
    for k in range(N_GROUPS**2):
        flux[k // N_GROUPS, k % N_GROUPS] = -((slot == k) * power) @ r_ij


@numba.njit(fastmath=True, nogil=True)
def read_all(array):
    """Read an array once, in order: the bandwidth a kernel could have (fastmath lets the compiler use wide loads)."""
    total = 0.0
    for k in range(len(array)):
        total += array[k]
    return total


@numba.njit(fastmath=True, nogil=True, parallel=True)
def read_all_parallel(array):
    """Read an array once with all threads: the bandwidth they could have together."""
    total = 0.0
    for k in numba.prange(len(array)):
        total += array[k]
    return total


@numba.njit(parallel=True)
def spin(n_tasks, n_steps):
    """Arithmetic without memory: n tasks on n free cores take as long as one on one."""
    ends = np.empty(n_tasks)
    for task in numba.prange(n_tasks):
        x = 0.5
        for _ in range(n_steps):
            x = 3.7 * x * (1.0 - x)
        ends[task] = x
    return ends


def on_threads(n_threads: int, function: Callable[..., Any], *arguments: object) -> Callable[[], object]:
    """Bind a call to a number of Numba's threads."""

    def call() -> object:
        numba.set_num_threads(n_threads)
        return function(*arguments)

    return call


def alternate(contestants: dict[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Seconds per call, fastest and median, the contestants taking turns after one call each to compile."""
    for call in contestants.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, call in contestants.items():
            begin = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begin)
    return {name: {"fastest": min(s), "median": float(np.median(s))} for name, s in seconds.items()}


def measure(system: dict[str, np.ndarray], dtype: str, repeats: int) -> dict[str, Any]:
    """Give times and ratios of one precision."""
    arrays = [array.astype(dtype) if array.dtype == np.float64 else array for array in system.values()]
    n_edges = len(arrays[0])
    bytes_per_edge = sum(array.nbytes for array in arrays[:4]) / n_edges
    flux = np.empty((N_GROUPS, N_GROUPS, 3))
    stream = np.ones(int(n_edges * bytes_per_edge) // 8)
    contestants = {
        "kernel, 1 thread": on_threads(1, cpu.pair_flux, *arrays, flux),
        "bandwidth, 1 thread": on_threads(1, read_all, stream),
        "spin, 1 task": on_threads(1, spin, 1, 10**7),
        "numpy, bincount": on_threads(1, numpy_bincount, *arrays, flux),
        "numpy, masks": on_threads(1, numpy_masks, *arrays, flux),
    }
    if numba.config.NUMBA_NUM_THREADS > 1:
        contestants["kernel, 2 threads"] = on_threads(2, cpu.pair_flux, *arrays, flux)
        contestants["bandwidth, 2 threads"] = on_threads(2, read_all_parallel, stream)
        contestants["spin, 2 tasks"] = on_threads(2, spin, 2, 10**7)
    seconds = alternate(contestants, repeats)
    return {
        "dtype": dtype,
        "edges": n_edges,
        "bytes_per_edge": bytes_per_edge,
        "ns_per_edge": {
            name: {which: s / n_edges * 1e9 for which, s in row.items()}
            for name, row in seconds.items()
            if name.startswith(("kernel", "numpy"))
        },
        "bandwidth_gb_per_s": stream.nbytes / seconds["bandwidth, 1 thread"]["fastest"] / 1e9,
        "ratios": _ratios({name: row["fastest"] for name, row in seconds.items()}),
    }


def _ratios(fastest: dict[str, float]) -> dict[str, float]:
    kernel = fastest["kernel, 1 thread"]
    ratios = {
        "over_numpy": min(fastest["numpy, bincount"], fastest["numpy, masks"]) / kernel,
        "of_bandwidth": fastest["bandwidth, 1 thread"] / kernel,
    }
    if "kernel, 2 threads" in fastest:
        ratios["threads_2_over_1"] = kernel / fastest["kernel, 2 threads"]
        ratios["of_bandwidth, 2 threads"] = fastest["bandwidth, 2 threads"] / fastest["kernel, 2 threads"]
        ratios["bandwidth, 2 threads over 1"] = fastest["bandwidth, 1 thread"] / fastest["bandwidth, 2 threads"]
        # 2: two free cores; 1: they share one.
        ratios["free_cores"] = 2 * fastest["spin, 1 task"] / fastest["spin, 2 tasks"]
    return ratios


def run(n_atoms: int = 97_556, repeats: int = 15) -> dict[str, Any]:
    """Run the whole case: 6 million edges, 3 groups, float64 and float32, one thread and two."""
    before = numba.get_num_threads()
    try:
        system = liquid(n_atoms)
        rows = [measure(system, dtype, repeats) for dtype in ("float64", "float32")]
    finally:
        numba.set_num_threads(before)
    return {"case": "kernels", "machine": platform.processor() or platform.machine(), "rows": rows, "targets": TARGETS}


def text(result: dict[str, Any]) -> str:
    """Lay the result out as lines to read."""
    lines = []
    for row in result["rows"]:
        lines.append(f"pair_flux, {row['edges']} edges, {N_GROUPS} groups, {row['dtype']}")
        for name, ns in row["ns_per_edge"].items():
            lines.append(f"  {name:20s} {ns['fastest']:7.2f} ns/edge fastest, {ns['median']:7.2f} median")
        lines.append(
            f"  read bandwidth {row['bandwidth_gb_per_s']:.1f} GB/s; {row['bytes_per_edge']:.0f} bytes per edge"
        )
        lines += [f"  {name:28s}{ratio:7.2f}" for name, ratio in row["ratios"].items()]
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", type=int, default=97_556)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args()
    result = run(options.atoms, options.repeats)
    print(text(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
