"""How errors of silicon's point defects depend on the size of the region in which a model is exact.

    python examples/silicon_dials.py [--quick] [--folder DIR]

Models equal Stillinger-Weber silicon within a distance L of the defect and err beyond it: (a) in force constants, with
a three-body strength λ that is 10 % larger; (b) in cubic terms, with a third derivative of the pair energy that is 10 %
larger. The perfect crystal is at rest in all, with the same energy. Theory (C. Ortner, Y. Wang, arXiv:2209.05366), for
|Du| ~ r^−p and forces that err in order m, 1 or 2, of the displacements: the geometry errs by R^(3/2 − mp), the energy
by R^(3 − (m + 1)p); R is the radius of a sphere of the volume of the exact atoms. The table has this for p = 3, for the
p of the reference and for sums of its |Du| beyond L, and errors by sums of what a model errs in, angles or bonds
(exponent 1). Writes silicon_dials.json (what is there is not computed again) and silicon_dials.png.
"""

from __future__ import annotations

import argparse
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk
from scipy.sparse.linalg import LinearOperator, cg
from torch.func import grad

from fluxan.generalization.defect_errors import RelaxedDefect, errors_between, relax_defect
from fluxan.generalization.defects import interstitial, vacancy
from fluxan.generalization.displacement_field import Stencil, decay_of
from fluxan.generalization.power_laws import fit_power_law
from fluxan.generalization.relaxation import Relaxed
from fluxan.md.ase import FluxanCalculator
from fluxan.md.ase.calculator import frame_of_atoms
from fluxan.neighbors import build_graph
from fluxan.plain_files import read_json, write_json
from fluxan.potentials.base import Potential
from fluxan.potentials.load import load_model
from fluxan.potentials.stillinger_weber import StillingerWeber

#: Lattice constant of lowest energy and length of bonds, Å; relative change of λ or of the third derivative.
LATTICE, BOND, CHANGE = 5.430949777, np.sqrt(3) / 4 * 5.430949777, 0.1
#: Cubic terms are whole up to the first distance and gone from the second, Å; second neighbours are at 3.84 Å.
WHOLE, GONE = 2.6, 3.0
#: Largest force that Newton's method leaves, eV/Å; displacement of the differences for force constants, Å; displacement
#: from which the reference relaxes anew, Å; errors count from this many times what is left of it.
FORCE, PROBE, DISPLACED, RESOLVED = 1e-10, 1e-4, 1e-3, 10
#: Lowest order of the displacements in which the forces of a model err.
ORDERS, DEFECTS, REFERENCE = {"a": 1, "b": 2}, ("interstitial", "vacancy"), load_model("shipped:si")
MARKS = dict(zip(product(DEFECTS, ORDERS), ("C0o", "C2^", "C1s", "C3v"), strict=True))
HEAD = "defect, cells, model | error | exponent (95 %) | p = 3 | p measured | Σ Du | points"
FULL = {"cells": (8, 12), "lengths": np.geomspace(4, 15.5, 8)}
QUICK = {"cells": (3,), "lengths": np.array([2.5, 4.0, 5.0])}


def pair_energy(r):
    """Pair energy of the reference, eV."""
    row = REFERENCE.rows[14, 14]
    power = row["B"] * (row["sigma"] / r) ** row["p"] - (row["sigma"] / r) ** row["q"]
    return row["A"] * row["epsilon"] * power * torch.exp(row["sigma"] / (r - row["a"] * row["sigma"]))


class ExactWithin(Potential):
    """U_i = U_i^reference + θ_i (U_i^changed − U_i^reference), with θ_i = 1 for the atoms that are `outside`."""

    def __init__(self, dial, outside):
        super().__init__()
        self.dial, self.silicon, self.cutoff = dial, REFERENCE, REFERENCE.cutoff
        self.register_buffer("outside", torch.as_tensor(outside, dtype=torch.float64))
        pair, angles = REFERENCE.rows[14, 14] | {"A": 0.0}, dict(REFERENCE.triplets[14, 14, 14])
        angles["lambda"] *= CHANGE
        self.bending = StillingerWeber(pairs={"Si-Si": pair}, triplets={"Si-Si-Si": angles})
        self.third = float(grad(grad(grad(pair_energy)))(torch.tensor(BOND, dtype=torch.float64)))

    def difference(self, graph, sign=lambda cubes: cubes):
        """U_i^changed − U_i^reference of all atoms, eV; `sign` is applied to the cubes of (b)."""
        if self.dial == "a":
            return self.bending(graph)
        r = graph.r_ij.norm(dim=1)
        near = ((GONE - r) / (GONE - WHOLE)).clamp(0, 1)
        cubes = sign((r - BOND) ** 3) * near**3 * (10 - 15 * near + 6 * near**2)
        # A bond has a sixth of the third derivative, and each of its atoms a half of that.
        return r.new_zeros(graph.n_atoms).index_add(0, graph.receivers, CHANGE * self.third / 12 * cubes)

    def forward(self, graph):
        """Atomic energies, eV."""
        return self.silicon(graph) + self.outside * self.difference(graph)


def crystal_response(n, defect):
    """Function that answers forces with displacements by the inverse force constants of the crystal of n³ cells."""
    crystal, shape, there = defect.perfect.copy(), (n, n, n, 24), defect.sites >= 0
    crystal.calc, constants = FluxanCalculator(REFERENCE), np.empty((*shape, 24))
    for k in range(24):
        crystal.positions[k // 3, k % 3] += PROBE
        constants[..., k] = -crystal.get_forces().reshape(shape) / PROBE
        crystal.positions[k // 3, k % 3] -= PROBE
    values, vectors = np.linalg.eigh(np.fft.rfftn(constants, axes=(0, 1, 2)))
    # Uniform displacements cost nothing; the softest wave of 12 cells has 0.06 eV/Å².
    inverse = (vectors / values.clip(0.01)[..., None, :]) @ vectors.conj().swapaxes(-1, -2)

    def response(forces):
        answer, on_sites = forces / 10, np.zeros((len(crystal), 3))  # an interstitial has a spring of 10 eV/Å²
        on_sites[defect.sites[there]] = forces[there]
        waves = np.fft.rfftn(on_sites.reshape(shape), axes=(0, 1, 2))[..., None]
        moved = np.fft.irfftn((inverse @ waves)[..., 0], s=shape[:3], axes=(0, 1, 2))
        answer[there] = moved.reshape(-1, 3)[defect.sites[there]]
        return answer

    return response


def settled(atoms, calculator, response):
    """Newton's method from atoms that are nearly relaxed, to forces that a line search of the energy cannot reach."""
    moved, centre = atoms.copy(), atoms.positions.copy()
    moved.calc, shape = calculator, 2 * (atoms.positions.size,)

    def forces_at(positions):
        moved.positions = positions
        return moved.get_forces()

    def times_hessian(x):
        probe = PROBE / np.abs(x).max()
        step = probe * x.reshape(-1, 3)
        return ((forces_at(centre - step) - forces_at(centre + step)) / (2 * probe)).ravel()

    hessian = LinearOperator(shape, times_hessian, dtype=float)
    inverse = LinearOperator(shape, lambda x: response(x.reshape(-1, 3)).ravel(), dtype=float)
    for n_steps in range(10):
        forces = forces_at(centre)
        if (largest := float(np.linalg.norm(forces, axis=1).max())) < FORCE:
            return Relaxed(moved, float(moved.get_potential_energy()), largest, n_steps, "")
        centre = centre + cg(hessian, forces.ravel(), rtol=1e-4, maxiter=300, M=inverse)[0].reshape(-1, 3)
    raise SystemExit(f"Newton's method leaves a force of {largest:.1e} eV/A")


@cache
def reference_of(n, kind):
    """A defect in n³ cubic cells, relaxed with the reference, and the response of its crystal."""
    crystal = bulk("Si", "diamond", a=LATTICE, cubic=True).repeat(n)
    hollow = crystal.positions[0] + [LATTICE / 2, 0, 0]
    defect = vacancy(crystal, inward=0.5) if kind == "vacancy" else interstitial(crystal, hollow, "Si")
    calculator, response = FluxanCalculator(REFERENCE), crystal_response(n, defect)
    rough = relax_defect(defect, calculator, tolerance=1e-3)
    return defect, RelaxedDefect(settled(rough.relaxed.atoms, calculator, response), rough.perfect_energy), response


def describe_reference(n, kind):
    """The reference's field by distance, and how far its structure and energy are resolved."""
    defect, reference, response = reference_of(n, kind)
    anew = reference.relaxed.atoms.copy()
    anew.positions += np.random.default_rng(1).normal(0, DISPLACED, anew.positions.shape)
    again = settled(anew, FluxanCalculator(REFERENCE), response)
    found = errors_between(defect, reference, RelaxedDefect(again, reference.perfect_energy))
    floor = {"geometry": found.geometry, "energy": max(abs(found.energy), float(np.spacing(abs(again.energy))))}
    decay = decay_of(Stencil(defect.perfect), reference.field(defect), defect.distances, 14)
    return {"floor": floor, "distance": decay.distance.tolist(), "strain": decay.strain.tolist()}


def errors_of(n, kind, dial, length):
    """Errors of a model that is exact within a length, and sums over the reference's structure beyond it."""
    defect, reference, response = reference_of(n, kind)
    outside = (defect.distances[defect.sites] > length) & (defect.sites >= 0)
    model, start, m = ExactWithin(dial, outside), reference.relaxed.atoms, ORDERS[dial]
    moved = settled(start, FluxanCalculator(model), response)
    found = errors_between(defect, reference, RelaxedDefect(moved, reference.perfect_energy))
    if found.reason:
        raise SystemExit(f"{kind}, model {dial} beyond {length:.1f} A: {found.reason}")
    radius = LATTICE * float(3 / (32 * np.pi) * (defect.distances <= length).sum()) ** (1 / 3)  # sites are on shells
    strains = Stencil(defect.perfect).strains(reference.field(defect))[defect.distances > length]
    terms = model.difference(build_graph(frame_of_atoms(start), model.cutoff), torch.abs).abs().numpy()[outside]
    fields = strains, terms ** (1 / (m + 1))  # both in the first order of the displacements
    sums = [[float((x ** (2 * m)).sum() ** 0.5), float((x ** (m + 1)).sum())] for x in fields]
    return {"radius": radius, "geometry": found.geometry, "energy": found.energy, "sums": sums}


def computed(path, settings):
    """All results, from the file or computed; the file is written after each."""
    results = read_json(path) if path.exists() else {}
    for case in product(settings["cells"], DEFECTS):
        jobs = {"{1} {0}".format(*case): (describe_reference, *case)}
        for dial, length in product(ORDERS, settings["lengths"].tolist()):
            jobs["{1} {0} {2} {3:.2f}".format(*case, dial, length)] = (errors_of, *case, dial, length)
        for name, (job, *arguments) in jobs.items():
            if name not in results:
                results[name] = job(*arguments)
                print(name, flush=True)
                write_json(path, results)
    return results


def laws_of(results, settings, name):
    """Rows of a defect and model: quantity, fitted exponent with its interval, and expected ones with verdicts."""
    reference, m, lengths, rows = results[name[:-2]], ORDERS[name[-1]], settings["lengths"], {}
    decay = np.array([reference["distance"], reference["strain"]])
    p = 3, -fit_power_law(*decay[:, (decay[0] > lengths[0]) & (decay[0] < 1.4 * lengths[-1])]).exponent
    points = {x["radius"]: x for key, x in results.items() if key.startswith(name + " ")}.values()
    points = [x for x in points if all(abs(x[key]) > RESOLVED * floor for key, floor in reference["floor"].items())]
    radii, geometry, energy = (np.abs([x[key] for x in points]) for key in ("radius", "geometry", "energy"))
    for k, (key, errors) in enumerate({"geometry": geometry, "energy": energy}.items()):
        strains, terms = np.array([x["sums"] for x in points])[:, :, k].T
        expected = [(1.5 - m * q, 3 - (m + 1) * q)[k] for q in p]
        rows[f"{key} by R"] = fit_power_law(radii, errors), [*expected, fit_power_law(radii, strains).exponent]
        rows[f"{key} by Σ {'angles' if m == 1 else 'bonds'}"] = fit_power_law(terms, errors), [1]
    rows["energy by geometry²"] = fit_power_law(geometry**2, energy), [(3 - q - m * q) / (3 - 2 * m * q) for q in p]
    for quantity, (law, expected) in rows.items():
        told = [f"{x:.2f} {law.verdict(x)}" for x in expected] + [""] * (3 - len(expected))
        yield [name, quantity, "{:.3f} ({:.3f} to {:.3f})".format(*law[:3]), *told, law.n_points]


def draw(results, settings, path):
    """Errors of geometry and energy by length: the largest cells filled, with the slopes of theory dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    for k, (key, axes) in enumerate(zip(("geometry", "energy"), figure.subplots(1, 2), strict=True)):
        for n, kind, dial in product(settings["cells"], DEFECTS, ORDERS):
            largest, mark = n == settings["cells"][-1], MARKS[kind, dial]
            points = [results[f"{kind} {n} {dial} {length:.2f}"] for length in settings["lengths"]]
            x, y = (np.abs([point[each] for point in points]) for each in ("radius", key))
            label, filled = f"{kind}, ({dial}), {8 * n**3:,} sites", ("none", "full")[largest]
            axes.loglog(x, y, mark, ms=4, fillstyle=filled, label=label)
            if largest:
                theory = y[-1] * (x / x[-1]) ** ((1.5, 0)[k] - 3 * ORDERS[dial])
                axes.loglog(x, theory, mark[:2] + "--", lw=0.8)
        axes.set(xlabel="R, Å", ylabel=f"error of the {key}, {('Å', 'eV')[k]}")
        axes.set_xticks([], minor=True)
        axes.set_xticks(ticks := [4, 6, 8, 10, 15], map(str, ticks))
    figure.legend(*axes.get_legend_handles_labels(), fontsize=7, loc="outside right upper")
    figure.savefig(path, dpi=150)


def main():
    """Compute, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="216 sites")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where the results go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings, path = QUICK if options.quick else FULL, options.folder / "silicon_dials.json"
    results = computed(path, settings)
    names = ["{1} {0} {2}".format(*case) for case in product(settings["cells"], DEFECTS, ORDERS)]
    rows = [row for name in names for row in laws_of(results, settings, name)]
    write_json(path, results | {"laws": rows})
    for row in (HEAD.split(" | "), ["---"] * 7, *rows):
        print("| " + " | ".join(map(str, row)) + " |")
    draw(results, settings, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
