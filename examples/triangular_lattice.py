"""How the error of a defect depends on the size of the region in which a model is exact: a study in two dimensions.

    python examples/triangular_lattice.py [--quick] [--folder DIR]

Lennard-Jones atoms on a triangular lattice. A model has known errors of its force constants, or of its cubic terms,
beyond a distance L from a vacancy or divacancy, and none within; for a dislocation its force constants err beyond five
lattice constants, and the radius R of the disc is varied. Theory: C. Ortner, Y. Wang, arXiv:2209.05366; with S. Patel,
arXiv:2311.01664. Prints a table of predicted and fitted exponents.

Writes triangular_lattice.json (each result as it comes: what is there is not computed again) and triangular_lattice.png
beside this script, or into the folder.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import cache
from pathlib import Path

import numpy as np
from scipy.sparse.linalg import LinearOperator, lobpcg
from triangular_lattice_defects import (
    LaplaceResponse,
    closest_stranger,
    core_of,
    decay,
    disc,
    energy_difference,
    nearest_pairs,
    norm,
    outer_springs,
    relaxed_defect,
    shell_springs,
)
from triangular_lattice_model import (
    CURVATURE,
    CUTOFF,
    LATTICE,
    THIRD,
    VECTORS,
    Dial,
    LatticeResponse,
    elastic_constants,
    relax,
)

from fluxan.replacement import replacing

#: Relative change of the force constant φ'' (a) or of φ''' (b) of nearest neighbours.
CHANGE = 0.1
POINT_DIALS = {"a": Dial(quadratic=(CHANGE * CURVATURE, 0, 0)), "b": Dial(cubic=CHANGE * THIRD / 6)}
#: A site's term ½ g (Σ s)² changes λ alone, by 9 g r² per area of a site; g for a change of CHANGE.
EMBEDDING = CHANGE * elastic_constants(Dial())[1] * np.sqrt(0.75) / 9
#: Springs of shell s change the elastic constants by k r²: (c) and (d) change none of them.
DISC_DIALS = {
    "a": Dial(quadratic=(CHANGE * CURVATURE, 0, 0)),
    "c": Dial(quadratic=(CHANGE * CURVATURE, -CHANGE * CURVATURE / 3, 0)),
    "d": Dial(quadratic=(CHANGE * CURVATURE, 0, -CHANGE * CURVATURE / 4)),
    "e": Dial(embedding=EMBEDDING),
}
#: Distance from a dislocation within which the models are exact, lattice constants; 0: they err in its core too.
EXACT = 5.0
#: Offset, and push at the start, of the two cores with a mirror: with an atom on it above the glide plane (in large
#: discs a saddle, which symmetry alone holds), and with two atoms astride (a minimum; a push leads away from saddles).
CORES = {"disc": (-0.25, 0.0), "stable disc": (0.25, 0.05)}
#: Forces that are left around a dislocation.
TOLERANCE = 1e-10


class Results:
    """Results by name, in a file that is written anew after each."""

    def __init__(self, path):
        """What the file has already."""
        self.path = path
        self.found = json.loads(path.read_text())["results"] if path.exists() else {}

    def get(self, name, compute):
        """A result, from the file or computed."""
        if name not in self.found:
            began = time.perf_counter()
            self.found[name] = compute() | {"seconds": round(time.perf_counter() - began, 2)}
            print(f"{name:<40}{self.found[name]['seconds']:>7.1f} s", flush=True)
            self.write()
        return self.found[name]

    def write(self, **more):
        """Write the file as a whole."""
        with replacing(self.path) as path:
            path.write_text(json.dumps(more | {"results": self.found}, indent=1) + "\n")


@cache
def reference_of(n, kind):
    """A relaxed point defect, its displacements, the record of its relaxation, and the response of its lattice."""
    response = LatticeResponse(n)
    return *relaxed_defect(n, kind, response), response


def describe_reference(n, kind):
    """Decay of a point defect, and the checks of its relaxation."""
    site, u, record, _ = reference_of(n, kind)
    distance, strain = decay(site, u)
    positions = LATTICE * (np.stack(np.divmod(np.arange(n * n), n), axis=1) @ VECTORS)
    return record | {
        "norm": norm(site.neighbours, u),
        "closest pair outside the list, cutoffs": closest_stranger(site.crystal, u, positions),
        "longest listed pair, cutoffs": longest_pair(site.crystal, u),
        "distance": distance.tolist(),
        "strain": strain.tolist(),
    }


def longest_pair(crystal, u):
    """Largest distance of a pair in the list, over the cutoff."""
    bonds = crystal.bonds
    return float(np.linalg.norm(bonds.rest + u[bonds.second] - u[bonds.first], axis=1).max() / CUTOFF)


def point_errors(n, kind, length, dial, smooth=False):
    """Errors of geometry and energy of a model that is exact within a length."""
    site, u, _, response = reference_of(n, kind)
    model = site.crystal.perturbed(outer_springs(site, length, dial, smooth))
    moved, record = relax(model, u, response)
    geometry, energy = norm(site.neighbours, moved - u), energy_difference(model, u, moved)
    return record | {"geometry": geometry, "energy": energy}


def scaled(dial, factor):
    """A perturbation times a factor."""
    return Dial(tuple(factor * k for k in dial.quadratic), factor * dial.cubic)


def study_points(results, settings):
    """Errors by length, for both defects, dials and ramps, and by the size of the perturbation."""
    n = settings["n"]
    for kind in ("vacancy", "divacancy"):
        results.get(f"{kind} {n}", lambda kind=kind: describe_reference(n, kind))
        for name, dial in POINT_DIALS.items():
            for ramp in settings["ramps"]:
                for length in settings["lengths"]:
                    results.get(
                        f"{kind} {n} {name} {ramp} L={length:.2f}",
                        lambda k=kind, r=length, d=dial, smooth=ramp == "smooth": point_errors(n, k, r, d, smooth),
                    )
    for name, dial in POINT_DIALS.items():
        for factor in settings["factors"]:
            results.get(
                f"divacancy {settings['small n']} {name} change={factor * CHANGE:.4f}",
                lambda f=factor, d=dial: point_errors(settings["small n"], "divacancy", 8.0, scaled(d, f)),
            )
    for length in settings["lengths"]:
        # How far the images of the cell count, where the error is smallest.
        results.get(
            f"vacancy {settings['small n']} b smooth L={length:.2f}",
            lambda r=length: point_errors(settings["small n"], "vacancy", r, POINT_DIALS["b"], smooth=True),
        )
    reference_of.cache_clear()


@cache
def relaxed_disc(radius, core):
    """A dislocation, its relaxed displacements, the record, its core, its pairs of neighbours, and the response."""
    found = disc(radius, *CORES[core])
    response = LaplaceResponse(found.crystal, nearest_pairs(found.crystal, found.start))
    u, record = relax(found.crystal, found.start, response, TOLERANCE)
    return found, u, record, core_of(found, u), nearest_pairs(found.crystal, u), response


def describe_disc(radius, core):
    """Core of a dislocation, and the checks of its relaxation."""
    found, u, record, odd, _, _ = relaxed_disc(radius, core)
    moved = found.positions + u
    return record | {
        "atoms": len(found.inside),
        "core": [[count, *(moved[site] / LATTICE).tolist()] for site, count in odd],
        "closest pair outside the list, cutoffs": closest_stranger(found.crystal, u, found.positions),
    }


def disc_errors(radius, core, dial, exact):
    """Squared error of geometry, error of energy, and whether the core is that of the reference."""
    found, u, _, _, pairs, response = relaxed_disc(radius, core)
    model = found.crystal.perturbed(shell_springs(found, u, dial, exact))
    moved, record = relax(model, u, response, TOLERANCE)
    # Which of its sites have five and seven Delaunay neighbours is a matter of rounding in a core with a mirror.
    same_neighbours = np.array_equal(nearest_pairs(found.crystal, moved), pairs)
    return record | {
        "geometry squared": norm(pairs, moved - u) ** 2,
        "energy": energy_difference(model, u, moved),
        "same core": same_neighbours and sorted(count for _, count in core_of(found, moved)) == [5, 7],
        "closest pair outside the list, cutoffs": closest_stranger(found.crystal, moved, found.positions),
    }


def lowest_curvature(radius, core):
    """Lowest eigenvalue of the force constants around a relaxed dislocation: negative if symmetry alone holds it."""
    found, u, _, _, _, response = relaxed_disc(radius, core)
    product, free = found.crystal.hessian(u), np.flatnonzero(np.repeat(found.crystal.free, 2))

    def on_free(function):
        def apply(x):
            v = np.zeros(2 * found.crystal.n_sites)
            v[free] = x.ravel()
            return function(v.reshape(-1, 2)).ravel()[free]

        return LinearOperator((len(free), len(free)), apply, dtype=float)

    start = np.random.default_rng(0).normal(size=(len(free), 4))
    values = lobpcg(on_free(product), start, M=on_free(response), largest=False, tol=1e-5, maxiter=200)[0]
    return {"eigenvalues": np.sort(values).tolist()}


def study_discs(results, settings, core):
    """Errors around a dislocation by radius, for all dials outside the core, and for three in the whole disc."""
    for radius in settings["radii"] if core == "disc" else settings["stable radii"]:
        name = f"{core} R={radius:.1f}"
        results.get(name, lambda r=radius: describe_disc(r, core))
        if radius in settings["whole radii"]:
            results.get(f"{name} stability", lambda r=radius: lowest_curvature(r, core))
        for letter, dial in DISC_DIALS.items():
            if letter == "d" and core != "disc":
                continue
            whole = core == "disc" and radius in settings["whole radii"] and letter != "d"
            for exact in (EXACT, 0.0) if whole else (EXACT,):
                results.get(
                    f"{name} {letter} exact={exact:g}",
                    lambda r=radius, d=dial, x=exact: disc_errors(r, core, d, x),
                )
        relaxed_disc.cache_clear()


def main():
    """Compute what is missing, print the table, and draw."""
    from triangular_lattice_table import draw, print_table, table_of

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small cells and discs, for a test")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where the results go")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    halves = np.arange(11) / 2
    settings = {
        "n": 512,
        "small n": 256,
        "lengths": (2 * 2**halves).tolist(),
        "ramps": ["step", "smooth"],
        "factors": np.geomspace(10**-1.5, 1, 7).tolist(),
        "radii": (10 * 2**halves).tolist(),
        "stable radii": (10 * 2 ** halves[2:9]).tolist(),
        "whole radii": (10 * 2 ** halves[:9:2]).tolist(),
    }
    if options.quick:
        settings |= {"n": 64, "small n": 48, "lengths": settings["lengths"][:5], "ramps": ["step"]}
        settings |= {"factors": settings["factors"][::2], "radii": settings["radii"][:3], "whole radii": [20.0]}
        settings |= {"stable radii": [20.0]}
    results = Results(options.folder / "triangular_lattice.json")
    study_points(results, settings)
    for core in CORES:
        study_discs(results, settings, core)
    rows = table_of(results.found, settings, DISC_DIALS)
    results.write(settings=settings, table=rows)
    print_table(rows)
    draw(results.found, settings, DISC_DIALS, options.folder / "triangular_lattice.png")


if __name__ == "__main__":
    main()
