"""Input for LAMMPS: crystals that move, and what drives them."""

from __future__ import annotations

import numpy as np

from fluxan.md.lammps.lammps_atoms import LammpsAtoms
from fluxan.potentials.load import load_model
from fluxan.units import KCAL_PER_MOL

EPSILON, SIGMA, CUTOFF = 0.0103235, 3.405, 8.5

LATTICE = """
units {units}
boundary {boundary}
box tilt large
lattice fcc 5.4
region box prism 0 {n} 0 {n} 0 {n} {tilt}
create_box {types} box
create_atoms 1 box
"""
MOTION = """
mass * 39.948
timestep {timestep}
velocity all create {hot} 4928 mom yes
"""
MIXTURE = """
set group all type/fraction 2 0.5 1234
mass 2 83.798
"""
#: Atoms are sorted by place every few steps.
SORTED = "atom_modify sort 7 3.0"


def argon():
    return load_model("shipped:ar")


def lattice(lmp, *, units="metal", n=3, tilt="0 0 0", types=1, boundary="p p p"):
    """4 n³ atoms on an fcc lattice, at rest and without masses."""
    settings = {"units": units, "n": n, "tilt": tilt, "types": types, "boundary": boundary}
    lmp.commands_string(LATTICE.format(**settings))


def crystal(lmp, *, units="metal", types=1, hot=160, timestep=0.004, **options):
    """A crystal on its way to `hot` / 2 K; `timestep` is in ps whatever the units."""
    lattice(lmp, units=units, types=types, **options)
    lmp.commands_string(MOTION.format(hot=hot, timestep=timestep * 1000 if units == "real" else timestep))
    if types == 2:
        lmp.commands_string(MIXTURE)


def lj_cut(lmp, units="metal"):
    """The shipped argon, as LAMMPS' own pair style."""
    epsilon = EPSILON if units == "metal" else EPSILON / KCAL_PER_MOL
    lmp.commands_string(f"pair_style lj/cut {CUTOFF}\npair_coeff * * {epsilon!r} {SIGMA}")


def arrays(lmp, *names):
    """Arrays of the atoms in order of their ids."""
    n_atoms = lmp.extract_setting("nlocal")
    order = np.argsort(lmp.numpy.extract_atom("id")[:n_atoms])
    return [lmp.numpy.extract_atom(name)[:n_atoms][order] for name in names]


def frame_of(lmp, elements):
    return LammpsAtoms(lmp, elements).frame()
