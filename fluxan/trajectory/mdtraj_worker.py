"""Child process of `fluxan.trajectory.mdtraj_reader`: reads a file with mdtraj and sends arrays to standard output.

Run as ``python -m fluxan.trajectory.mdtraj_worker FILE N_ATOMS``; N_ATOMS is 0 where the file holds its topology.
Each chunk is sent as a line with the numbers of frames, of atoms, and of frames with a cell; then, as raw float32,
positions (frames, atoms, 3) nm and cell vectors (frames with a cell, 3, 3) nm, and as float64 times (frames,) ps.
"""

from __future__ import annotations

import os
import sys
from typing import Any, BinaryIO

import numpy as np


def main(path: str, n_atoms: int) -> None:
    """Send the file's frames; standard output is redirected meanwhile, since mdtraj's C plugins print to it."""
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        send(out, path, n_atoms)


def send(out: BinaryIO, path: str, n_atoms: int) -> None:
    """Write chunks of frames to `out`."""
    import mdtraj

    arguments = {"top": nameless_topology(n_atoms)} if n_atoms else {}
    for chunk in mdtraj.iterload(path, chunk=1, **arguments):  # one by one, so that frames before a broken one are sent
        vectors = chunk.unitcell_vectors
        cells = np.empty((0, 3, 3)) if vectors is None else vectors
        out.write(b"%d %d %d\n" % (*chunk.xyz.shape[:2], len(cells)))
        arrays = ((chunk.xyz, np.float32), (cells, np.float32), (chunk.time, np.float64))
        out.writelines(np.ascontiguousarray(array, dtype=kind).tobytes() for array, kind in arrays)
        out.flush()


def nameless_topology(n_atoms: int) -> Any:
    """Make an mdtraj topology of `n_atoms` atoms without elements: mdtraj's readers need only their number."""
    import mdtraj

    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for _ in range(n_atoms):
        topology.add_atom("X", mdtraj.element.virtual, residue)
    return topology


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]))
    except Exception as error:  # mdtraj raises any kind of exception; the parent reports it
        sys.exit(f"{type(error).__name__}: {error}")
