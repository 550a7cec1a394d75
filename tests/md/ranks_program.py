"""A program for several MPI ranks: LAMMPS on systems that do not depend on the number of ranks, and what each rank saw.

``mpirun -n 2 python -m tests.md.ranks_program FOLDER CASE ...`` writes ``FOLDER/CASE-RANK.npz`` for each rank.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import fluxan
from fluxan.md.lammps import FluxRecorder, drive
from fluxan.potentials.equivariant import EquivariantNetwork
from tests.lammps_helper import lammps_instance
from tests.md.lammps_systems import CUTOFF
from tests.message_passing import ToyModel, scaled_up

PRESSURE = ("press", "pxx", "pyy", "pzz", "pxy", "pxz", "pyz")
NAMES = ("potential", "kinetic", "convective")
FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
LJ_CUT = f"""
pair_style lj/cut {CUTOFF}
pair_coeff 1 1 0.0103235 3.405
pair_coeff 2 2 0.0140 3.65
pair_coeff 1 2 0.01202 3.5275
"""


def network():
    return scaled_up(EquivariantNetwork([18, 36], cutoff=4.5, n_features=4, seed=2, zbl=True), 1.2)


def toy(n_hops=2):
    """Two layers, whatever number of hops it declares."""
    return ToyModel(
        n_hops=n_hops, vectors=True, symmetrised=True, sender_scatter=True, cutoff=4.5, n_elements=40, scale=0.5
    )


#: Model, elements, cells, lattice constant, temperature, steps; and whether the model drives LAMMPS.
CASES = {
    "driven": (lambda: "shipped:ar-kr", "Ar Kr", (3, 3, 4), 5.6, 900, 200, True),
    "own": (lambda: "shipped:ar-kr", "Ar Kr", (3, 3, 4), 5.6, 900, 200, False),
    "silicon": (lambda: "shipped:si", "Si", (2, 2, 4), 5.431, 3000, 100, True),
    "network": (network, "Ar Kr", (2, 2, 10), 5.4, 300, 20, True),
    "toy": (toy, "Ar Kr", (2, 2, 8), 5.4, 900, 10, False),
    "hnemd": (network, "Ar Kr", (2, 2, 8), 5.4, 300, 10, True),
    "wrong": (lambda: toy(1), "Ar Kr", (2, 2, 8), 5.4, 900, 10, False),
}


def fill(lmp, elements, cells, constant, temperature):
    """A tilted crystal of atoms with thermal velocities, the same whatever the number of ranks."""
    random = np.random.default_rng(5)
    basis = FCC if elements == "Ar Kr" else np.concatenate([FCC, FCC + 0.25])
    places = (np.stack(np.indices(cells), axis=-1).reshape(-1, 1, 3) + basis).reshape(-1, 3)
    edges = constant * np.diag(cells) + np.array([[0, 0, 0], [0.8, 0, 0], [-0.5, 0.6, 0]])
    positions = places / cells @ edges + random.uniform(-0.05, 0.05, places.shape)
    types = random.integers(1, 3, len(places)) if elements == "Ar Kr" else np.ones(len(places), dtype=int)
    masses = (39.948, 83.798) if elements == "Ar Kr" else (28.0855,)
    spread = np.sqrt(0.8314 * temperature / np.array(masses)[types - 1])
    velocities = random.normal(size=places.shape) * spread[:, None]
    lmp.commands_string(f"""units metal
        atom_modify map array sort 7 3.0
        box tilt large
        region box prism 0 {edges[0, 0]} 0 {edges[1, 1]} 0 {edges[2, 2]} 0.8 -0.5 0.6
        create_box {len(masses)} box
        timestep 0.002
        comm_modify vel yes""")
    ids = random.permutation(len(places)) + 1
    lmp.create_atoms(len(places), ids.tolist(), types.tolist(), positions.ravel().tolist(), velocities.ravel().tolist())
    for kind, mass in enumerate(masses):
        lmp.command(f"mass {kind + 1} {mass}")
    lmp.commands_string("velocity all zero linear\nfix move all nve\ncompute single all pe/atom")


def gathered(lmp, name):
    """An array of all atoms in order of ids, as LAMMPS gathers it."""
    return np.ctypeslib.as_array(lmp.gather_atoms(name, 1, 3)).reshape(-1, 3)


def own_ids(lmp):
    return np.sort(lmp.numpy.extract_atom("id")[: lmp.extract_setting("nlocal")])


def measured(case, output=None):
    """Fluxes, forces, energies and pressures of a case."""
    make, elements, cells, constant, temperature, steps, driven = CASES[case]
    model = make()
    with lammps_instance() as lmp:
        fill(lmp, elements, cells, constant, temperature)
        if driven:
            drive(lmp, model, elements=elements, driving_force=(0.3, -0.2, 0.1) if case == "hnemd" else None)
        else:
            lmp.commands_string(LJ_CUT)
        recorder = FluxRecorder(lmp, model, elements=elements, every=5, output=output)
        recorder.run(0)
        before = own_ids(lmp)
        recorder.run(steps)
        dataset = recorder.dataset()
        found = {name: dataset[name].values for name in (*NAMES, "potential_energy", "temperature")}
        found["pressure"] = np.array([lmp.get_thermo(name) for name in PRESSURE])
        found["energy"] = lmp.get_thermo("pe")
        found |= {name: gathered(lmp, name) for name in "xvf"}
        single = np.ctypeslib.as_array(lmp.gather("c_single", 1, 1))
        found |= {"single": single, "before": before, "after": own_ids(lmp)}
        # The whole system at once, by code that knows nothing of ranks.
        types = np.ctypeslib.as_array(lmp.gather_atoms("type", 0, 1))
        low, high, xy, yz, xz, *_ = lmp.extract_box()
        cell = np.diag(np.subtract(high, low)) + np.array([[0, 0, 0], [xy, 0, 0], [xz, yz, 0]])
        numbers = np.array([{"Ar": 18, "Kr": 36, "Si": 14}[name] for name in elements.split()])[types - 1]
        masses = lmp.numpy.extract_atom("mass")[types]
        frame = fluxan.Frame(found["x"], found["v"], cell, numbers, masses)
        flux = fluxan.heat_flux(frame, model)
        return found | {f"whole_{name}": getattr(flux, name) for name in NAMES}


if __name__ == "__main__":
    folder, *cases = sys.argv[1:]
    with lammps_instance() as first:
        here = first.extract_setting("world_rank")
    for each in cases:
        np.savez(Path(folder) / f"{each}-{here}.npz", **measured(each, Path(folder) / f"{each}.nc"))
