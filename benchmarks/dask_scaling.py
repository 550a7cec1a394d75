"""What two Dask workers on one machine give over a serial job, on a model that costs several ms a frame."""

from __future__ import annotations

import multiprocessing
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import fluxan
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.series.schema import VARIABLES
from tests.systems import argon_krypton

N_FRAMES = 1200
ROUNDS = 3
SPINS = 20_000_000


def run() -> dict[str, Any]:
    """A spin test, a serial job and the same one spread, in turn."""
    from distributed import Client, LocalCluster

    model = EquivariantNetwork([18, 36], cutoff=4.5, n_features=8, seed=2)
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fluxan.convert(argon_krypton(N_FRAMES, n_cells=3), folder / "traj.nc", double=True)
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster) as client,
        ):
            _seconds(folder, model, client)  # workers import and compile
            for _ in range(ROUNDS):
                cores = _free_cores()
                serial, spread = _seconds(folder, model, None), _seconds(folder, model, client)
                rounds.append(
                    {
                        "free_cores": cores,
                        "serial_ms_per_frame": 1e3 * serial / N_FRAMES,
                        "spread_ms_per_frame": 1e3 * spread / N_FRAMES,
                        "ratio": serial / spread,
                        "worker_mib": max(client.run(_resident).values()),
                    }
                )
        equal = _same(folder / "serial.nc", folder / "spread.nc")
    return {
        "frames": N_FRAMES,
        "ratio": statistics.median(row["ratio"] for row in rounds),
        "rounds": rounds,
        "bitwise_equal": equal,
    }


def text(results: dict[str, Any]) -> str:
    """A line per round."""
    lines = [
        f"  {row['free_cores']:.2f} free cores: serial {row['serial_ms_per_frame']:.1f}, two workers "
        f"{row['spread_ms_per_frame']:.1f} ms per frame, {row['ratio']:.2f} x; worker {row['worker_mib']:.0f} MiB"
        for row in results["rounds"]
    ]
    return "\n".join([*lines, f"  the same bits: {results['bitwise_equal']}"])


def _seconds(folder: Path, model: object, client: object) -> float:
    output = folder / ("serial.nc" if client is None else "spread.nc")
    begin = time.perf_counter()
    fluxan.decompose(folder / "traj.nc", model, output=output, overwrite=True, client=client, progress=False).close()
    return time.perf_counter() - begin


def _free_cores() -> float:
    """Work of two processes at once over that of one alone, in the same time."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_spin, [1, 1])  # start both
        alone = max(pool.map(_spin, [SPINS]))
        both = max(pool.map(_spin, [SPINS, SPINS], chunksize=1))
    return 2 * alone / both


def _spin(n: int) -> float:
    begin = time.perf_counter()
    for _ in range(n):
        pass
    return time.perf_counter() - begin


def _resident() -> float:
    """Most memory that this process ever had, MiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) / 1024 if found else float("nan")


def _same(first: Path, second: Path) -> bool:
    with fluxan.open_flux(first) as a, fluxan.open_flux(second) as b:
        return all(np.array_equal(a[name].values, b[name].values, equal_nan=True) for name in VARIABLES)
