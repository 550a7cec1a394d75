"""Table and figure of `triangular_lattice`: predicted and fitted exponents, and growth with the logarithm of R."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student
from triangular_lattice_defects import RIM
from triangular_lattice_model import LATTICE, Dial, elastic_constants

from fluxan.generalization.power_laws import WIDEST, fit_power_law

#: Fit windows, chosen before the fits: lengths and distances from 3 lattice constants on, distances to a tenth of the
#: cell, radii from four times the exact region on.
LEAST_LENGTH, FURTHEST, LEAST_RADIUS = 3.0, 0.1, 20.0
#: Exponents of errors of geometry and energy with the length L; the generic ones for two dimensions.
PREDICTED = {"a": {"geometry": -1.0, "energy": -2.0}, "b": {"geometry": -3.0, "energy": -4.0}}
#: The field has its power where |Du| r² is this close to its median.
FLATNESS = 0.05
#: Why a prediction is not expected for a case; each can be derived, and has its own row where it can be tested.
REASONS = {
    "vacancy b energy": "the field c/r of a site of sixfold symmetry gives Σ s³ ~ cos 6θ, whose mean over angles is 0",
    "disc a": "λ and μ change in one ratio, ν does not, and the field of a dislocation depends on ν alone",
}


def law(x, y, predicted, window=None, correction=None):
    """Slope in a window with its interval and verdict; over all points; and with a correction term in the window."""
    x, y = np.asarray(x, dtype=float), np.abs(np.asarray(y, dtype=float))
    inside = np.ones(len(x), dtype=bool) if window is None else np.asarray(window)
    if inside.sum() < 3:
        return {"prediction": predicted, "verdict": "too few points"}
    fit, every = fit_power_law(x[inside], y[inside]), fit_power_law(x, y)
    row = {
        "prediction": predicted,
        "slope": [fit.exponent, fit.lower, fit.upper],
        "all": [every.exponent, every.lower, every.upper],
        "verdict": fit.verdict(predicted),
    }
    if correction is not None and inside.sum() > 4:
        row["limit"] = linear(np.log(y[inside]), np.log(x[inside]), correction(x[inside]))[0]
    return row


def linear(y, *columns):
    """Coefficient of the first column with its 95 % interval by least squares with a constant, and the rms residual."""
    matrix = np.column_stack([*columns, np.ones(len(y))])
    solution = np.linalg.lstsq(matrix, y, rcond=None)[0]
    residual, freedom = y - matrix @ solution, len(y) - matrix.shape[1]
    variance = (residual**2).sum() / freedom * np.linalg.inv(matrix.T @ matrix)[0, 0]
    half = student.ppf(0.975, freedom) * np.sqrt(variance)
    return [float(solution[0]), float(solution[0] - half), float(solution[0] + half)], float(np.std(residual))


def series(found, prefix, lengths, quantity):
    """A quantity of results by length."""
    return np.array([found[f"{prefix} L={length:.2f}"][quantity] for length in lengths])


def point_rows(found, settings, kind):
    """Rows of a point defect."""
    n, lengths = settings["n"], np.array(settings["lengths"])
    window = lengths >= LEAST_LENGTH
    reference = found[f"{kind} {n}"]
    r, strain = np.array(reference["distance"]), np.array(reference["strain"])
    far = (r >= LEAST_LENGTH) & (r <= max(FURTHEST * n, 10))
    row = {"hypothesis": f"{kind}: Du against r"}
    row |= law(r[far], strain[far], -2.0, None, lambda x: x**-2)
    if row["verdict"] == "not seen":
        row["reason"] = (
            f"r² Du is flat to {FLATNESS:.0%} from {flat_from(reference, r[far].max()):.1f} on: the near field"
        )
    rows = [row]
    for name, predictions in PREDICTED.items():
        for quantity, predicted in predictions.items():
            row = {"hypothesis": f"{kind} ({name}): error of {quantity} against L"}
            values = series(found, f"{kind} {n} {name} step", lengths, quantity)
            row |= law(lengths, values, predicted, window, lambda x: x**-2)
            if "smooth" in settings["ramps"]:
                smooth = series(found, f"{kind} {n} {name} smooth", lengths, quantity)
                row["smooth"] = law(lengths, smooth, predicted, window)["slope"]
            rows.append(row | reason_of(row, f"{kind} {name} {quantity}"))
    squares = series(found, f"{kind} {n} a step", lengths, "geometry") ** 2
    energies = series(found, f"{kind} {n} a step", lengths, "energy")
    row = {"hypothesis": f"{kind} (a): energy against geometry²"}
    row |= law(squares, energies, 1.0, window, lambda x: x)
    return [*rows, row | reason_of(row)]


def reason_of(row, case=""):
    """Why a prediction is not seen: a reason of its own, or how far the limit with a correction is from it."""
    if case in REASONS:
        return {"reason": REASONS[case]}
    if row["verdict"] != "not seen":
        return {}
    if "limit" not in row:
        return {"reason": "corrections to the power cannot be told from so few points"}
    off = abs(row["limit"][0] - row["prediction"])
    return {"reason": f"corrections exceed the scatter; with one of them the limit is {off:.3f} off"}


def flat_from(reference, furthest):
    """Distance beyond which |Du| r² of a reference stays close to its median."""
    r, strain = np.array(reference["distance"]), np.array(reference["strain"])
    flat, near = np.median((strain * r**2)[(r > LEAST_LENGTH) & (r < furthest)]), r < furthest
    return float(r[near & (np.abs(strain * r**2 / flat - 1) > FLATNESS)].max())


def symmetry_row(found, settings):
    """The vacancy's energy by (b), whose leading order cancels: the next order, where the field has its power.

    The images of the cell add 3 s² s', with s' of their field ~ r⁴/n⁶: a number ~ n⁻⁴ that hardly depends on L. It is
    taken off with the energy at the largest L, and shown by the energies there in two cells.
    """
    if "smooth" not in settings["ramps"]:
        return []
    lengths, n, small = np.array(settings["lengths"]), settings["n"], settings["small n"]
    energies, others = (series(found, f"vacancy {m} b smooth", lengths, "energy") for m in (n, small))
    # The ramp begins at 3/4 of L.
    window = (0.75 * lengths > flat_from(found[f"vacancy {n}"], FURTHEST * n)) & (lengths <= lengths[-1] / 2)
    row = {"hypothesis": "vacancy (b), smooth ramp, where Du ~ r⁻²: energy less that at the largest L, against L"}
    row |= law(lengths[:-1], energies[:-1] - energies[-1], -6.0, window[:-1], lambda x: x**-2)
    ratio, expected = others[-1] / energies[-1], (n / small) ** 4
    remark = f"images: at the largest L cells of {small} and {n} have energies as {ratio:.1f} : 1 (n⁻⁴: {expected:.0f})"
    return [row | {"reason": remark, "lengths": lengths[window].tolist()}]


def change_rows(found, settings):
    """Errors against the size of the perturbation."""
    rows, changes = [], np.array(settings["factors"]) * 0.1
    for name in PREDICTED:
        prefix = f"divacancy {settings['small n']} {name}"
        errors = [found[f"{prefix} change={change:.4f}"]["geometry"] for change in changes]
        row = {"hypothesis": f"divacancy ({name}), L = 8: geometry against the change"}
        row |= law(changes, errors, 1.0, None, lambda x: x)
        rows.append(row | reason_of(row))
    return rows


def predicted_growth(dial):
    """Growth with ln R of the squared error and of the energy of an edge dislocation, by isotropic elasticity.

    The displacement depends on κ = 1/(1 − ν) alone. Its derivative by κ is b/2π (sin 2θ / 4, ln r / 2 − cos 2θ / 4), of
    which |∇|² = (b/2π)² / 2r²; a sum over six neighbours is 2√3 times an integral over the area. The energy is
    μ κ b² ln R / 4π.
    """
    constants = [elastic_constants(d) for d in (Dial(), dial)]
    kappa, shear = [(c11 + c12) / c11 for c11, c12, _ in constants], [c[2] for c in constants]
    growth = np.sqrt(3) / (2 * np.pi) * LATTICE**2 * (kappa[1] - kappa[0]) ** 2
    return float(growth), float((shear[1] * kappa[1] - shear[0] * kappa[0]) * LATTICE**2 / (4 * np.pi))


def disc_rows(found, settings, dials):
    """Rows of the dislocation: growth with ln R, over that of elasticity for (e)."""
    unit, rows = predicted_growth(dials["e"])[0], []
    for core, exact in (("disc", 5.0), ("stable disc", 5.0), ("disc", 0.0)):
        for name, dial in dials.items():
            names = {r: f"{core} R={r:.1f} {name} exact={exact:g}" for r in settings["radii"]}
            radii = np.array([r for r in names if names[r] in found])
            records = [found[names[r]] for r in radii]
            inside = radii >= LEAST_RADIUS
            if inside.sum() < 3:
                continue
            squares = np.array([record["geometry squared"] for record in records])
            place = ("stable core" if core == "stable disc" else "exact core") if exact else "whole disc"
            row = {"hypothesis": f"dislocation ({name}), {place}: error² / elasticity's for (e) against ln R"}
            row |= growth_of(radii, squares / unit, inside, predicted_growth(dial)[0] / unit)
            row |= reason_of(row, f"disc {name}")
            if not exact:
                share = squares[-1] / found[f"disc R={radii[-1]:.1f} {name} exact=5"]["geometry squared"]
                row["reason"] = f"hidden by the core's own error: error² is {share:.0f} times that with an exact core"
            rows.append(row)
            expected = predicted_growth(dial)[1]
            if place == "exact core" and abs(expected) > 1e-6:
                row = {"hypothesis": f"dislocation ({name}), {place}: error of energy / elasticity's against ln R"}
                energies = np.array([record["energy"] for record in records]) / expected
                row |= growth_of(radii + RIM / LATTICE, energies, inside, 1.0)
                rows.append(row | reason_of(row))
    return rows


def growth_of(radii, values, inside, predicted):
    """Slope against ln R in the window and over all, and with a term of the next order of elasticity, (ln R / R)²."""
    slope, residual = linear(values[inside], np.log(radii[inside]))
    seen = slope[1] <= predicted <= slope[2]
    row = {
        "prediction": round(predicted, 6),
        "slope": slope,
        "all": linear(values, np.log(radii))[0],
        "verdict": ("seen" if slope[2] - slope[1] <= WIDEST else "too uncertain") if seen else "not seen",
        "residual over range": residual / float(np.ptp(values[inside])),
    }
    if inside.sum() > 4:
        x = radii[inside]
        row["limit"] = linear(values[inside], np.log(x), (np.log(x) / x) ** 2)[0]
    return row


def table_of(found, settings, dials):
    """All rows."""
    rows = [row for kind in ("vacancy", "divacancy") for row in point_rows(found, settings, kind)]
    return rows + symmetry_row(found, settings) + change_rows(found, settings) + disc_rows(found, settings, dials)


def interval(numbers):
    """A slope with its interval."""
    return "{:.3f} ({:.3f} to {:.3f})".format(*numbers).replace("-", "−") if numbers else ""


def print_table(rows):
    """The table as Markdown, limits with the first correction to the power."""
    print("| hypothesis | predicted | slope (95 %) | verdict | all points | smooth ramp | limit (95 %) | remark |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        fits = [interval(row.get(key)) for key in ("slope", "all", "smooth", "limit")]
        predicted = f"{row['prediction']:.3g}".replace("-", "−")
        cells = [row["hypothesis"], predicted, fits[0], row["verdict"], *fits[1:], row.get("reason", "")]
        print("| " + " | ".join(cells) + " |")


def draw(found, settings, dials, path):
    """Decay, errors of geometry and energy by length, and squared errors around the dislocation by radius."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    draw_decay(panels[0, 0], found, settings)
    draw_lengths(panels[0, 1], found, settings, "geometry", "‖Du − Du$_{ref}$‖, σ")
    draw_lengths(panels[1, 0], found, settings, "energy", "|E − E$_{ref}$|, ε")
    draw_discs(panels[1, 1], found, settings, dials)
    for axes, letter in zip(panels.flat, "abcd", strict=True):
        axes.set_title(f"({letter})", loc="left", fontsize=9)
    figure.savefig(path, dpi=150)


def guide(axes, x, start, exponent, below=4):
    """A predicted power law beside the points."""
    x = np.array([x[0], x[-1]])
    axes.loglog(x, start * (x / x[0]) ** exponent, "k--", linewidth=0.8)
    label = f"{exponent:+.0f}".replace("-", "−").replace("+", "")
    place = np.sqrt(x[0] * x[1])
    axes.annotate(
        label, (place, start * (place / x[0]) ** exponent), (below, below), textcoords="offset points", fontsize=8
    )


def draw_decay(axes, found, settings):
    """|Du| of both references by distance."""
    for kind, mark, shift in (("vacancy", "o", 0.5), ("divacancy", "s", 2.0)):
        reference = found[f"{kind} {settings['n']}"]
        r, strain = np.array(reference["distance"]), np.array(reference["strain"])
        axes.loglog(r, strain, mark, markersize=3, label=kind)
        far = r > LEAST_LENGTH
        guide(axes, r[far], shift * strain[far][0], -2.0, -12 if shift < 1 else 4)
    axes.set_xticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
    axes.minorticks_off()
    axes.axvspan(LEAST_LENGTH, max(FURTHEST * settings["n"], 10), color="0.92", zorder=0)
    axes.set_xlabel("distance r from the defect, lattice constants")
    axes.set_ylabel("|Du| of the reference, σ")
    axes.legend(fontsize=8)


def draw_lengths(axes, found, settings, quantity, label):
    """An error by length, for both defects and dials."""
    lengths = np.array(settings["lengths"])
    for kind, mark in (("vacancy", "o"), ("divacancy", "s")):
        for name, colour in (("a", "C0"), ("b", "C1")):
            values = np.abs(series(found, f"{kind} {settings['n']} {name} step", lengths, quantity))
            fill = colour if kind == "vacancy" else "none"
            what = "force constants" if name == "a" else "cubic terms"
            axes.loglog(lengths, values, mark, color=colour, mfc=fill, ms=4, label=f"{kind}, ({name}) {what}")
            exponent = PREDICTED[name][quantity]
            if kind == "vacancy" and name == "b" and quantity == "energy":
                # The mean over angles vanishes at the leading order, so that the step's energy scatters about it.
                if "smooth" in settings["ramps"]:
                    smooth = np.abs(series(found, f"{kind} {settings['n']} b smooth", lengths, quantity))
                    axes.loglog(lengths, smooth, "x", color=colour, ms=4, label="the same, smooth ramp")
                    axes.annotate("images", (lengths[-1], smooth[-1]), (-14, 6), textcoords="offset points", fontsize=7)
                exponent = -6.0
            late = lengths >= LEAST_LENGTH
            middle = np.exp(np.mean(np.log(values[late]) - exponent * np.log(lengths[late])))
            guide(axes, lengths[late], 1.6 * middle * lengths[late][0] ** exponent, exponent)
    axes.set_xticks([2, 4, 8, 16, 32, 64], ["2", "4", "8", "16", "32", "64"])
    axes.minorticks_off()
    axes.set_xlabel("L within which the model is exact, lattice constants")
    axes.set_ylabel(label)
    axes.legend(fontsize=7)


def draw_discs(axes, found, settings, dials):
    """Squared error around the dislocation against ln R, over that of elasticity for (e)."""
    radii, unit = np.array(settings["radii"]), predicted_growth(dials["e"])[0]
    names = {
        "a": "(a) λ and μ err alike",
        "c": "(c) exact λ, μ",
        "d": "(d) exact constants of all orders",
        "e": "(e) λ errs alone",
    }
    for (name, label), mark in zip(names.items(), "os^D", strict=True):
        values = np.array([found[f"disc R={r:.1f} {name} exact=5"]["geometry squared"] for r in radii]) / unit
        axes.semilogx(radii, values, mark, ms=4, label=label)
        if name == "e":
            axes.semilogx(
                radii, values[-1] + np.log(radii / radii[-1]), "k--", linewidth=0.8, label="elasticity, slope 1"
            )
        else:
            axes.axhline(values[-1], color="k", linestyle=":", linewidth=0.6)
    axes.set_xticks([10, 20, 40, 80, 160, 320], ["10", "20", "40", "80", "160", "320"])
    axes.minorticks_off()
    axes.set_xlabel("radius R of the disc, lattice constants")
    axes.set_ylabel("‖Du − Du$_{ref}$‖², in units of growth of (e) per ln R")
    axes.legend(fontsize=8, loc="upper right", bbox_to_anchor=(1.0, 0.9))
