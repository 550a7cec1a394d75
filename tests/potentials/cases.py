"""Every analytic potential with a small disordered cell to try it on; shared by the tests that hold for all of them."""

from __future__ import annotations

import numpy as np
from ase.build import bulk

from fluxan.potentials import LennardJones, Potential, StillingerWeber, Vashishta, load_model
from fluxan.system import Frame
from tests.lammps_helper import potentials_folder

NOBLE = {
    "Ne-Ne": {"epsilon": 0.0031, "sigma": 2.74, "cutoff": 6.0},
    "Ar-Ar": {"epsilon": 0.0103, "sigma": 3.405},
    "Kr-Kr": {"epsilon": 0.014, "sigma": 3.65, "cutoff": 7.5},
}
AGI = {
    "Ag-Ag": {"H": 0.16, "eta": 11},
    "Ag-I": {"H": 1310.0, "eta": 9, "P": 14.9},
    "I-I": {"H": 5328.0, "eta": 7, "P": 29.8, "C": 84.5},
}
CHARGES = {"Ag": 0.5815, "I": -0.5815}


def models() -> dict[str, Potential]:
    agi = {"pairs": AGI, "charges": CHARGES}
    exponential = {"screening": "exponential", "lambda_1": 5.0}
    return {
        "lj-none": load_model("ar"),
        "lj-energy": LennardJones(cutoff=6.5, pairs=NOBLE, truncation="energy", mixing="lorentz-berthelot"),
        "lj-force": LennardJones(cutoff=6.5, pairs=NOBLE, truncation="force", mixing="geometric"),
        "exponential-none": Vashishta(cutoff=6.0, **agi, **exponential),
        "exponential-energy": Vashishta(cutoff=6.0, **agi, **exponential, lambda_4=4.43, truncation="energy"),
        "exponential-force": Vashishta(cutoff=6.0, **agi, **exponential, lambda_4=4.43, truncation="force"),
        "wolf": Vashishta(cutoff=6.0, **agi, screening="wolf", alpha=0.3),
        "damped-shifted": Vashishta(cutoff=6.0, **agi, screening="damped-shifted", alpha=0.3, lambda_4=3.0),
        "agi": load_model("agi"),
        "si": load_model("si"),
        "gan": stillinger_weber_from_lammps("GaN.sw"),
    }


def disordered(model: Potential, *, seed: int = 0, displacement: float = 0.25) -> Frame:
    """A sheared, shaken crystal cell of 16 to 32 atoms of the model's elements, smaller than twice the cutoff."""
    rng = np.random.default_rng(seed)
    lattice = {"lennard-jones": ("fcc", 5.0), "vashishta": ("zincblende", 6.4)}.get(model.kind, ("zincblende", 5.0))
    if len(model.elements) == 1 and model.kind == "stillinger-weber":
        lattice = ("diamond", 5.43)
    symbols = "Ar" if lattice[0] in {"fcc", "diamond"} else "ArNe"
    atoms = bulk(symbols, lattice[0], a=lattice[1], cubic=True) * (2, 1, 2)
    shear = np.array([[1, 0, 0], [0.1, 1, 0], [-0.15, 0.08, 1]])
    cell = atoms.cell.array @ shear
    positions = atoms.positions @ shear + displacement * rng.normal(size=(len(atoms), 3))
    if lattice[0] == "zincblende":
        numbers = np.where(atoms.numbers == 18, *model.elements)
    else:
        numbers = rng.choice(model.elements, len(atoms))
    return Frame(positions, None, cell, numbers)


def stillinger_weber_from_lammps(name: str) -> StillingerWeber:
    """A parameter file of LAMMPS, whose i-j-j entries hold the pairs and all entries the triplets."""
    names = ("epsilon", "sigma", "a", "lambda", "gamma", "cos_theta0", "A", "B", "p", "q")
    pairs, triplets = {}, {}
    for line in (potentials_folder() / name).read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        i, j, k, *numbers = line.split()
        row = dict(zip(names, map(float, numbers), strict=False))
        if j == k and i <= j:
            pairs[f"{i}-{j}"] = {key: row[key] for key in ("epsilon", "sigma", "a", "gamma", "A", "B", "p", "q")}
        if j <= k:
            triplets[f"{i}-{j}-{k}"] = {key: row[key] for key in ("epsilon", "lambda", "cos_theta0")}
    return StillingerWeber(pairs=pairs, triplets=triplets)


NAMES = tuple(models())
