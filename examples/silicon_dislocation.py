"""How the error of a dislocation in Stillinger-Weber silicon depends on elastic constants and on force constants.

    python examples/silicon_dislocation.py [--quick] [--folder DIR]

Partial dislocations relax in cylinders whose rim is held at the reference's field of linear elasticity, by the
reference and then, from where that ends, by models. Far away |Du| ~ 1/r, so that an error of the elastic constants acts
at all distances: the squared error is expected to be A + B log R, with the B of linear elasticity (`growth`), which is
proportional to the square of the error of the constants and zero if they are exact (C. Ortner, Y. Wang,
arXiv:2209.05366). One period along the axis leaves the core of the 30 degree partial unreconstructed.
Dials change one parameter of the reference; linear models are fitted to sets of observations of the same structures.

Writes silicon_dislocation.json, row by row, and silicon_dislocation.png beside this script, or into the folder. What
is in the file is not computed again.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from silicon_dislocation_models import (
    DELTAS,
    DIALS,
    EXACT,
    LATTICE,
    REFERENCE,
    SETS,
    SIZES,
    Elastic,
    Results,
    elastic_of,
    growth,
    growth_of,
    lattice_constant,
    linear_models,
    ratio,
    stillinger_weber,
)

from fluxan.generalization.dislocations import dislocation
from fluxan.generalization.displacement_field import Stencil, displacements_of
from fluxan.generalization.power_laws import fit_power_law
from fluxan.generalization.relaxation import relax
from fluxan.md.ase import FluxanCalculator

KINDS = ("diamond 30 degree partial", "diamond 90 degree partial")
#: Kind of the linear models' radii; the other is relaxed at the second radius alone.
MAIN, SIDE = KINDS[1], KINDS[0]
#: Width of the rim, Å: triplets reach twice their cutoff of 3.77 Å. Tolerance, eV/Å; most steps of a model.
RIM, TOLERANCE, MOST_STEPS = 8.0, 1e-5, 200
#: Distance within which atoms are bound, Å; the error beyond FAR, Å, is told by itself.
BOUND, FAR = 3.0, 10.0
#: Sets of observations whose errors are compared.
COMPARED = (("E, F, V", "E, F"), ("E, F, FC", "E, F"), ("E, F, V", "E, F, FC"), ("E, F, FC, V", "E, F, FC"))


@dataclass(frozen=True)
class Grid:
    """Radii inside of the rim, Å, and training sets."""

    dials: tuple = (20, 28, 40, 56, 78, 110)
    linear: tuple = (16, 32, 64)
    seeds: tuple = (0, 1, 2, 3)
    n_patches: int = 24
    sizes: tuple = tuple(SIZES)
    kinds: tuple = KINDS


QUICK = Grid((10, 13, 16), (8, 10), (0,), 12, ("10 functions",), (MAIN,))


@cache
def reference_of(kind, radius, constants, lattice=LATTICE):
    """Defect and stencil, and the structure relaxed by the reference, in units of the lattice constant."""
    scale = lattice / LATTICE
    defect = dislocation(kind, "Si", lattice, constants, radius=(radius + RIM) * scale, rim=RIM * scale)
    relaxed = None
    if lattice == LATTICE:
        relaxed = relax(defect.atoms, FluxanCalculator(REFERENCE), tolerance=TOLERANCE)
        if relaxed.reason:
            raise SystemExit(f"{kind}, {radius} A: {relaxed.reason}")
    return defect, Stencil(defect.perfect), relaxed


def compare(kind, radius, constants, model):
    """Row of one model: squared error in the energy norm, Å², or the reason why there is none."""
    began = time.perf_counter()
    defect, stencil, reference = reference_of(kind, radius, constants)
    relaxed = relax(reference.atoms, FluxanCalculator(model), tolerance=TOLERANCE, steps=MOST_STEPS)
    row = {"atoms": len(defect.atoms), "steps": relaxed.steps, "seconds": time.perf_counter() - began}
    apart = displacements_of(defect, relaxed.atoms) - displacements_of(defect, reference.atoms)
    moved = float(np.linalg.norm(apart, axis=1).max())
    reason = relaxed.reason
    if not reason and moved > stencil.nearest / 3:
        reason = f"an atom is {moved:.2f} A from where the reference has it"
    if not reason and bonds(relaxed.atoms) != bonds(reference.atoms):
        reason = f"other neighbours within {BOUND} A than by the reference"
    if reason:
        return row | {"reason": reason}
    squares = stencil.strains(apart) ** 2
    return row | {"error2": squares.sum(), "far2": squares[defect.distances > FAR].sum(), "moved": moved, "reason": ""}


def bonds(atoms):
    """Set of pairs within BOUND."""
    return set(map(tuple, Stencil(atoms, BOUND).pairs.tolist()))


def compare_scaled(kind, radius, constants, model):
    """Error of a model in a cylinder of its own lattice constant, displacements in units of that, Å²."""
    own = lattice_constant(model)
    defect, stencil, reference = reference_of(kind, radius, constants)
    there = reference_of(kind, radius, constants, own)[0]
    start = there.atoms.copy()
    start.positions = there.perfect.positions + (reference.atoms.positions - defect.perfect.positions) * own / LATTICE
    relaxed = relax(start, FluxanCalculator(model), tolerance=TOLERANCE, steps=MOST_STEPS)
    if relaxed.reason:
        return {"lattice": own, "reason": relaxed.reason}
    apart = displacements_of(there, relaxed.atoms) * LATTICE / own - displacements_of(defect, reference.atoms)
    return {"lattice": own, "error2": stencil.norm(apart) ** 2, "reason": ""}


def run_dials(results, grid):
    """Reference with one parameter changed."""
    constants = results.elastic("reference", REFERENCE).constants
    models = {name: stillinger_weber(**settings) for name, settings in DIALS.items()}
    for radius in grid.dials:
        for kind in grid.kinds:
            for name, model in models.items():
                results.elastic(name, model)
                key = f"{name} | {kind} | {radius}"
                if key not in results.data["rows"]:
                    results.add("rows", key, compare(kind, radius, constants, model))
            reference_of.cache_clear()


def run_linear(results, grid):
    """Linear models of all sizes, seeds and sets."""
    constants, rows = results.elastic("reference", REFERENCE).constants, results.data["rows"]
    places = [(MAIN, radius) for radius in grid.linear] + [
        (kind, grid.linear[1]) for kind in grid.kinds if kind == SIDE
    ]
    for seed in grid.seeds:
        for size in grid.sizes:
            start = f"{size}, seed {seed}"
            if all(f"{start}, {name} | {kind} | {radius}" in rows for name in SETS for kind, radius in places):
                continue
            for name, model, errors in linear_models(size, seed, grid.n_patches):
                full = f"{start}, {name}"
                if full not in results.data["models"]:
                    results.add("models", full, {"elastic": list(elastic_of(model)), "errors": errors})
                failed = ""
                for kind, radius in places:
                    if (key := f"{full} | {kind} | {radius}") not in rows:
                        # What fails in a small cylinder takes all steps in a large one.
                        again = {"reason": f"not tried: {failed}"} if failed else None
                        results.add("rows", key, again or compare(kind, radius, constants, model))
                    failed = failed or rows[key]["reason"]
                if seed == 0 and (key := f"{full} | own lattice constant | {grid.linear[1]}") not in rows:
                    results.add("rows", key, compare_scaled(MAIN, grid.linear[1], constants, model))


def series(results, name, kind, radii):
    """Radii and squared errors of a model, those without a number left out."""
    rows = [(radius, results.data["rows"].get(f"{name} | {kind} | {radius}", {})) for radius in radii]
    kept = [(radius, row["error2"]) for radius, row in rows if "error2" in row]
    return np.array([r for r, _ in kept], dtype=float), np.array([e for _, e in kept])


def expected(results, name, kind):
    """B by linear elasticity, Å²."""
    models = results.data["models"]
    return growth(kind, Elastic(*models["reference"]["elastic"]), Elastic(*models[name]["elastic"]))


def print_dials(results, grid):
    """Growth of the squared error of the dials, and how it depends on the change of the dial."""
    print("\nDials: B of error² = A + B log R + C/R², Å², and of a line; p of error ~ (log R)^p")
    for kind in grid.kinds:
        slopes = {}
        for name in DIALS:
            radii, squares = series(results, name, kind, grid.dials)
            if len(radii) < 3 or squares.max() < 1e-6:
                print(f"{kind:<26}{name:<30} error² {squares.max(initial=0):.1e} at most, {len(radii)} radii")
                continue
            slopes[name] = growth_of(radii, squares)[0]
            fits = ["{:.3e} ({:.3e} to {:.3e})".format(*growth_of(radii, squares, core=core)) for core in (True, False)]
            last = np.diff(squares)[-1] / np.diff(np.log(radii))[-1]
            power = fit_power_law(np.log(radii), squares**0.5)
            print(
                f"{kind:<26}{name:<30} B {fits[0]}  expected {expected(results, name, kind):.3e}  line {fits[1]}  "
                f"last two radii {last:.3e}  error² {squares[-1]:.3e}  "
                f"p {power.exponent:.3f} ({power.lower:.3f} to {power.upper:.3f}): 0.5 {power.verdict(0.5)}"
            )
        dials = [(d, expected(results, n, kind), slopes[n]) for d, n in zip(DELTAS, DIALS, strict=False) if n in slopes]
        if len(dials) > 2 and min(slope for _, _, slope in dials) > 0:
            deltas, theory, measured = zip(*dials, strict=True)
            for label, x, power in (("δ", deltas, 2), ("expected B", theory, 1)):
                law = fit_power_law(x, measured)
                told = f"{law.exponent:.3f} ({law.lower:.3f} to {law.upper:.3f}): {power} {law.verdict(power)}"
                print(f"{kind}: B ~ ({label})^{told}")


def table(results, grid):
    """What is known of each linear model: a dictionary for each."""
    found, true = [], np.array(results.data["models"]["reference"]["elastic"][:3])
    for size, name, seed in product(grid.sizes, SETS, grid.seeds):
        full = f"{size}, seed {seed}, {name}"
        if full not in results.data["models"]:
            continue
        model = results.data["models"][full]
        radii, squares = series(results, full, MAIN, grid.linear)
        row = {"size": size, "set": name, "seed": seed, **model["errors"], "B": expected(results, full, MAIN)}
        row["elastic"] = float(np.sqrt(np.mean((np.array(model["elastic"][:3]) / true - 1) ** 2)))
        row |= {f"error {radius:.0f}": square**0.5 for radius, square in zip(radii, squares, strict=True)}
        if len(radii) == len(grid.linear):
            row["growth"] = growth_of(radii, squares, core=len(radii) > 2)[0]
            last = results.data["rows"][f"{full} | {MAIN} | {grid.linear[-1]}"]
            row |= {"error": squares[-1] ** 0.5, "far": last["far2"] ** 0.5}
        for label, key in (("side", SIDE), ("own", "own lattice constant")):
            square = results.data["rows"].get(f"{full} | {key} | {grid.linear[1]}", {}).get("error2")
            row |= {} if square is None else {label: square**0.5}
        found.append(row)
    return found


def print_linear(rows, grid):
    """Means over the seeds for each size and set, and the number of seeds that gave a number."""
    errors = [f"error {radius}" for radius in grid.linear]
    columns = ["energy", "forces", "force_constants", "virial", "elastic", "B", "growth", *errors, "far", "side", "own"]
    print("\nLinear models, means over the seeds (number of seeds if not all)")
    print(f"{'':<28}" + "".join(f"{column:>17}" for column in columns))
    for size, name in product(grid.sizes, SETS):
        cells = []
        for column in columns:
            values = [row[column] for row in rows if (row["size"], row["set"]) == (size, name) and column in row]
            short = f" ({len(values)})" if len(values) < len(grid.seeds) else ""
            cells.append((f"{np.mean(values):.3g}" if values else "-") + short)
        print(f"{size:<16}{name:<12}" + "".join(f"{cell:>17}" for cell in cells))
    print("\nRatios of the same structures, geometric mean over the seeds (95 %)")
    for size, (one, other) in product(grid.sizes, COMPARED):
        chosen = {(row["set"], row["seed"]): row for row in rows if row["size"] == size}
        told = []
        for column in ("elastic", "B", "error", "far", "side"):
            pairs = [(chosen.get((one, seed), {}), chosen.get((other, seed), {})) for seed in grid.seeds]
            told.append(f"{column} {ratio([a[column] / b[column] for a, b in pairs if column in a and column in b])}")
        print(f"{size:<16}{one} / {other}: " + "   ".join(told))


def print_causes(rows):
    """Which errors go along with growth and error over all linear models, and whether B is as expected."""
    whole = [row for row in rows if "growth" in row]
    if len(whole) < 5:
        return
    print(f"\nRank correlations over {len(whole)} linear models")
    for target, column in product(("B", "error", "far"), ("energy", "forces", "force_constants", "virial", "elastic")):
        found = spearmanr([row[column] for row in whole], [row[target] for row in whole])
        print(f"{target:>6} with {column:<16} {found.statistic:+.2f}  (p = {found.pvalue:.1e})")
    both = [(row["B"], row["growth"]) for row in whole if row["growth"] > 0]
    law = fit_power_law(*zip(*both, strict=True))
    print(f"measured growth ~ (expected B)^{law.exponent:.2f} ({law.lower:.2f} to {law.upper:.2f}): 1 {law.verdict(1)}")
    print(f"measured over expected {ratio([y / x for x, y in both])}; not positive: {len(whole) - len(both)} models")


def draw(results, grid, rows, path):
    """Squared error against the radius for dials and for sets of observations, and growth against its expectation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    draw_dials(left, right, results, grid)
    for (size, shade), (k, name) in product(zip(grid.sizes, ("o-", "s:"), strict=False), enumerate(SETS)):
        chosen = [row for row in rows if (row["size"], row["set"]) == (size, name)]
        radii = [radius for radius in grid.linear if all(f"error {radius}" in row for row in chosen)]
        means = [np.exp(np.mean([2 * np.log(row[f"error {radius}"]) for row in chosen])) for radius in radii]
        if len(means) > 1:
            middle.loglog(radii, means, shade, color=f"C{k}", markersize=4, label=f"{name}; {size}")
        both = [(row["B"], row["growth"]) for row in chosen if row.get("growth", 0) > 0]
        if both:
            right.loglog(*zip(*both, strict=True), shade[0], color=f"C{k}", markersize=4, alpha=0.7)
    middle.set_xticks(grid.linear, [str(radius) for radius in grid.linear])
    middle.set(
        title="Linear models, 90° partial", xlabel="radius R, Å", ylabel="error², Å$^2$ (geometric mean of seeds)"
    )
    ends = np.array(right.get_xlim())
    right.loglog(ends, ends, "k--", linewidth=0.8, label="as expected")
    for mark, size in zip("os", grid.sizes, strict=False):
        right.plot([], [], mark, color="0.6", label=f"{size}, colours of the middle panel")
    for mark, kind in zip("o^", KINDS, strict=True):
        right.plot([], [], mark, color="k", label=f"dials λ, {kind.split()[1]}°")
    right.set(title="Growth B of the error (positive ones)", xlabel="B of linear elasticity, Å$^2$")
    right.set_ylabel("growth of error² with log R, Å$^2$")
    for axes in (left, middle, right):
        axes.minorticks_off()
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=6, **({"loc": "center", "ncols": 2} if axes is middle else {"loc": "upper left"}))
    figure.savefig(path, dpi=150)


def draw_dials(left, right, results, grid):
    """Growth of the squared error, in units of δ², with the line of elasticity; its slope in the panel on the right."""
    scales = {name: delta**2 for delta, name in zip(DELTAS, DIALS, strict=False)} | {EXACT: 0.01}
    for (k, (name, scale)), (kind, mark) in product(enumerate(scales.items()), zip(KINDS, ("o", "^"), strict=True)):
        radii, squares = series(results, name, kind, grid.dials)
        if kind not in grid.kinds or len(radii) < 3:
            continue
        left.semilogx(radii, (squares - squares[0]) / scale, f"{mark}-", color=f"C{k}", markersize=4)
        left.plot([], [], f"{mark}-", color=f"C{k}", markersize=4, label=f"{name}; {kind.split()[1]}°")
        if name != EXACT:
            right.loglog(expected(results, name, kind), growth_of(radii, squares)[0], "k" + mark, markersize=6)
        if name == f"λ +{100 * DELTAS[1]:.0f} %":
            rise = squares[-1] - squares[0] + expected(results, name, kind) * np.log(radii / radii[-1])
            left.plot(radii[1:], rise[1:] / scale, "k--", linewidth=0.8)
    left.plot([], [], "k--", linewidth=0.8, label="slope of linear elasticity, +5 %")
    left.set_xticks(grid.dials, [str(radius) for radius in grid.dials])
    left.set(title="Dials, two partials", xlabel="radius R, Å", ylabel="(error²(R) − error²(20 Å)) / δ², Å$^2$")


def main():
    """Compute what is missing, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small cylinders, one kind, one size, one seed")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where the results go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    grid, stem = (QUICK, "silicon_dislocation_quick") if options.quick else (Grid(), "silicon_dislocation")
    results = Results(options.folder / f"{stem}.json")
    run_dials(results, grid)
    run_linear(results, grid)
    print_dials(results, grid)
    rows = table(results, grid)
    print_linear(rows, grid)
    print_causes(rows)
    for key, row in results.data["rows"].items():
        if row["reason"]:
            print(f"no number: {key}: {row['reason']}")
    draw(results, grid, rows, options.folder / f"{stem}.png")


if __name__ == "__main__":
    main()
