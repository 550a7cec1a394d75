"""Peak memory of `decompose` over the length of the trajectory; each length in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LENGTHS = (400, 2000, 8000)
ROOT = Path(__file__).parents[1]

CHILD = """
import sys
import fluxan
from benchmarks.measure import peak_resident
from benchmarks.systems import argon_crystal
path, n_frames = sys.argv[1], int(sys.argv[2])
frame = argon_crystal(4)
fluxan.convert((frame.replace(time=0.01 * k) for k in range(n_frames)), path)
fluxan.decompose(path, "shipped:ar", output=path + ".flux.nc", progress=False).close()
print(peak_resident())
"""


def run() -> dict[str, Any]:
    """Peak resident memory, MiB, by number of frames of 256 atoms."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for n_frames in LENGTHS:
            command = [sys.executable, "-c", CHILD, str(Path(folder) / f"{n_frames}.nc"), str(n_frames)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            peaks[n_frames] = float(done.stdout)
    return {"peak_mib": peaks, "growth": peaks[max(LENGTHS)] / peaks[min(LENGTHS)] - 1}


def text(result: dict[str, Any]) -> str:
    """Lay the result out as lines to read."""
    lines = [f"  {n_frames:>6} frames of 256 atoms  {peak:7.0f} MiB" for n_frames, peak in result["peak_mib"].items()]
    return "\n".join([*lines, f"  growth over a {max(LENGTHS) // min(LENGTHS)} x longer file {result['growth']:7.1%}"])
