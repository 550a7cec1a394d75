"""Writes mdtraj.h5 and its values with mdtraj and PyTables, which the tests themselves do not need."""

import mdtraj
import numpy as np
from mdtraj.formats import HDF5TrajectoryFile

rng = np.random.default_rng(7)
topology = mdtraj.Topology()
chain = topology.add_chain()
for name in ("Na", "Cl", "O", "H", "H"):
    residue = topology.add_residue(name, chain)
    topology.add_atom(name, mdtraj.element.Element.getBySymbol(name), residue)
positions = rng.uniform(0, 2, (4, 5, 3)).astype(np.float32)
velocities = rng.normal(size=(4, 5, 3)).astype(np.float32)
time = np.arange(4, dtype=np.float32) * 0.5 + 3
lengths = np.tile(np.float32([2.0, 2.5, 3.0]), (4, 1))
angles = np.tile(np.float32([70, 80, 95]), (4, 1))
with HDF5TrajectoryFile("mdtraj.h5", "w", force_overwrite=True) as file:
    file.write(positions, time=time, cell_lengths=lengths, cell_angles=angles, velocities=velocities)
    file.topology = topology
np.savez("mdtraj_values.npz", positions=positions, velocities=velocities, time=time, lengths=lengths, angles=angles)
