"""Small crystals and runs of them, for tests of force constants and exports."""

from __future__ import annotations

import numpy as np
from ase.build import bulk
from ase.io import write

from fluxan.active.anharmonicity import HarmonicReference
from fluxan.lattice_dynamics.ideal_supercell import repeated
from fluxan.potentials.lennard_jones import LennardJones
from fluxan.potentials.load import load_model
from fluxan.system import Frame

EPSILON, SIGMA = 0.0104, 3.4
ARGON = LennardJones(cutoff=6.0, pairs={"Ar-Ar": {"epsilon": EPSILON, "sigma": SIGMA}}, truncation="none")
SILICON = load_model("shipped:si")


def cell_of(atoms):
    return Frame(atoms.positions, None, atoms.cell.array, atoms.numbers)


#: No shell of neighbours lies within 0.2 Å of the cutoff.
AR = cell_of(bulk("Ar", "fcc", a=5.3))
SI = cell_of(bulk("Si", a=5.431))


def written(path, frame):
    """A structure file of a cell, with all digits."""
    from fluxan.trajectory.memory import atoms_of_frame

    write(path, atoms_of_frame(frame))
    return path


def harmonic_run(primitive, model, repeats, n_frames=4, *, seed=0, temperature=0.1):
    """Frames of a supercell in a random order of its atoms, 0.01 ps apart, and wrapped into the cell.

    Displacements are those of `temperature`, at which the crystal is harmonic; velocities are those of 30 K.
    """
    rng = np.random.default_rng(seed)
    frame = repeated(primitive, repeats).frame
    order = rng.permutation(frame.n_atoms)
    frame = frame.replace(
        positions=frame.positions[order], numbers=frame.numbers[order], masses=np.asarray(frame.masses)[order]
    )
    reference = HarmonicReference.from_forces(frame, model)
    frames = [reference.sample(temperature, rng) for _ in range(n_frames)]
    wrapped = [(f.positions @ np.linalg.inv(f.cell) % 1) @ f.cell for f in frames]
    return [
        f.replace(positions=p, velocities=(30 / temperature) ** 0.5 * f.velocities, time=5 + 0.01 * k)
        for k, (f, p) in enumerate(zip(frames, wrapped, strict=True))
    ]
