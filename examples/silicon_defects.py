"""Point defects of Stillinger-Weber silicon: formation energies, and how far their fields reach.

    python examples/silicon_defects.py [--quick] [--folder DIR]

Vacancies and a tetrahedral interstitial relax in cells of 512, 4,096 and 13,824 atoms. Two structures of the vacancy
are at rest. In the ideal one, to which small displacements return, no atom has moved at all: bonds of Stillinger-Weber
silicon have their lowest energy each by itself, so that a missing atom leaves no force. In the other, 1.7 eV lower, the
neighbours have come together in pairs. Theory has |Du| ~ r^−3 for the field of a point defect.

Writes silicon_defects.json and silicon_defects.png beside this script, or into the folder.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from ase.build import bulk

from fluxan.generalization.defects import interstitial, vacancy
from fluxan.generalization.displacement_field import Stencil, decay_of, displacements_of
from fluxan.generalization.power_laws import fit_power_law
from fluxan.generalization.relaxation import relax
from fluxan.md.ase import FluxanCalculator

#: Lattice constant of lowest energy, Å; tolerance, eV/Å; displacements of the neighbours of the vacancies, Å.
LATTICE, TOLERANCE, LITTLE, MUCH = 5.430949777, 1e-4, 0.2, 0.5
#: Shells of the decay; the exponent is fitted from two cells away from the defect, as far as a third of the side.
SHELLS, NEAREST, FURTHEST = 14, 6.0, 1 / 3
#: Exponent of the strain around a point defect in three dimensions, by linear elasticity.
PREDICTED = -3.0


def relaxed_defects(n_cells, calculator):
    """Rows of all defects in a cell of n³ cubic cells."""
    crystal = bulk("Si", "diamond", a=LATTICE, cubic=True).repeat(n_cells)
    crystal.calc = calculator
    energy = crystal.get_potential_energy()
    crystal.calc = None
    hollow = crystal.positions[0] + [LATTICE / 2, 0, 0]
    stencil = Stencil(crystal)
    rows = []
    defects = {
        "vacancy, ideal": vacancy(crystal, inward=LITTLE),
        "vacancy, pairs": vacancy(crystal, inward=MUCH),
        "interstitial": interstitial(crystal, hollow, "Si"),
    }
    for name, defect in defects.items():
        began = time.perf_counter()
        relaxed = relax(defect.atoms, calculator, tolerance=TOLERANCE)
        if relaxed.reason:
            raise SystemExit(f"{name} in {len(crystal)} atoms: {relaxed.reason}")
        field = displacements_of(defect, relaxed.atoms)
        decay = decay_of(stencil, field, defect.distances, SHELLS)
        row = {
            "defect": name,
            "atoms": len(crystal),
            "formation energy": defect.formation_energy(relaxed.energy, energy),
            "norm": stencil.norm(field),
            "distance": decay.distance.tolist(),
            "strain": decay.strain.tolist(),
            "steps": relaxed.steps,
            "seconds": time.perf_counter() - began,
        }
        rows.append(row | {"exponent": exponent_of(row, n_cells * LATTICE)})
    return rows


def exponent_of(row, side):
    """Exponent of the decay with its 95 % interval and verdict, or None where there is no field or no room for one."""
    inside = [k for k, r in enumerate(row["distance"]) if NEAREST < r < FURTHEST * side]
    if len(inside) < 4 or row["norm"] < 0.01:
        return None
    law = fit_power_law([row["distance"][k] for k in inside], [row["strain"][k] for k in inside])
    return [law.exponent, law.lower, law.upper, law.verdict(PREDICTED)]


def draw(rows, path):
    """Strain against distance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    marks = {"interstitial": "o-", "vacancy, pairs": "s:"}
    for row in rows:
        if row["defect"] in marks:
            label = f"{row['defect']}, {row['atoms']:,} atoms"
            axes.loglog(row["distance"], row["strain"], marks[row["defect"]], markersize=3, label=label)
    r, strain = rows[-1]["distance"], rows[-1]["strain"]
    middle = len(r) // 2
    axes.loglog(r, [strain[middle] * (x / r[middle]) ** PREDICTED for x in r], "k--", linewidth=0.8, label="r$^{-3}$")
    axes.set_xticks([3, 5, 10, 20, 40], ["3", "5", "10", "20", "40"])
    axes.minorticks_off()
    axes.set_xlabel("distance from the defect, Å")
    axes.set_ylabel("|Du|, Å")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=150)


def main():
    """Relax, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64 and 216 atoms")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where the results go")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    calculator, rows = FluxanCalculator("shipped:si"), []
    for n_cells in (2, 3) if options.quick else (4, 8, 12):
        for row in relaxed_defects(n_cells, calculator):
            rows.append(row)
            exponent = (
                "" if row["exponent"] is None else "exponent {:.2f} ({:.2f} to {:.2f}): {}".format(*row["exponent"])
            )
            print(
                f"{row['defect']:<15}{row['atoms']:>6} atoms  E_f {row['formation energy']:.4f} eV  "
                f"norm {row['norm']:.3f} A  {row['steps']} steps, {row['seconds']:.0f} s  {exponent}",
                flush=True,
            )
    (options.folder / "silicon_defects.json").write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows, options.folder / "silicon_defects.png")


if __name__ == "__main__":
    main()
