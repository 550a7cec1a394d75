"""Stage `figure` of `rare_events.py`: the results as JSON and CSV, and the figure."""

from __future__ import annotations

import csv
import json
import os
import platform

import numpy as np
from rare_events_learning import MORE, TEMPERATURE
from scipy.stats import t as student

from fluxan.active.poisson_rates import poisson_rate, rate_ratio

RULES = ("before", MORE, "random", "published", "flux", "without P_E")
LABELS = {
    "before": "before",
    MORE: "more event-free",
    "random": "random",
    "published": "published rule",
    "flux": "flux uncertainty",
    "without P_E": "without $P_E$",
}
COLOURS = {
    "reference": "black",
    "before": "#999999",
    MORE: "#56b4e9",
    "random": "#e69f00",
    "published": "#0072b2",
    "flux": "#009e73",
    "without P_E": "#cc79a7",
}

#: Events of a run of 200 ps beyond which there is no crystal left.
LEFT = 100


def pooled(rows, reference):
    """Errors by seed; rate of events of all, 1/ns, and its ratio to the reference's, with exact intervals of 95 %."""
    found = {
        "labels": [row["labels"] for row in rows],
        "force errors": {k: [row["force errors"][k] for row in rows] for k in ("all", "event")},
        "test errors": [row["test"]["forces"] for row in rows],
    }
    if "events" not in rows[0]:
        return found
    count, nanoseconds = sum(row["events"] for row in rows), sum(row["picoseconds"] for row in rows) / 1000
    rate = poisson_rate(count, nanoseconds)
    ratio = rate_ratio((len(reference.events), reference.duration / 1000), (count, nanoseconds))
    return found | {
        "events": count,
        "nanoseconds": nanoseconds,
        "rate": rate.rate,
        "interval": [rate.lower, rate.upper],
        "ratio": ratio.ratio,
        "ratio interval": [ratio.lower, ratio.upper],
        "false": sum(row["false"] for row in rows),
        "relabelled": sum(row["relabelled"] for row in rows),
        "lost runs": sum(row["lost"] for row in rows),
        "by seed": [row["events"] for row in rows],
    }


def paired(ours, theirs):
    """Ratio of errors paired by seed, and its interval of 95 % from the scatter of its logarithm over seeds."""
    logs, interval = np.log(np.array(ours) / np.array(theirs)), None
    if len(logs) > 1:
        half = student.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / len(logs) ** 0.5
        interval = np.exp([logs.mean() - half, logs.mean() + half]).tolist()
    return {"ratio": float(np.exp(logs.mean())), "interval": interval, "seeds": len(logs)}


def summary(lifetimes):
    """Numbers of modes with a lifetime and without, and the median lifetime, ps, within segments and of whole runs."""
    found = {"events": lifetimes["events"], "blocks": lifetimes["blocks"]}
    for kind in ("within", "whole"):
        good = [row[1] for row in lifetimes[kind] if not set(row[3]) - {"events"}]
        found[kind] = {
            "sets of modes": len(lifetimes[kind]),
            "with a lifetime": len(good),
            "median": float(np.median(good)) if good else None,
            "flagged for events": sum("events" in row[3] for row in lifetimes[kind]),
        }
    return found


def clean(value):
    """The same without numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: clean(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [clean(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def kappas(study):
    """Conductivities by failure and rule beside that of the reference, and how long runs would have to be to differ."""
    found, length = {}, study.sizes.runs * study.sizes.kappa / 1000
    for path in sorted((study.folder / "compare").glob("transport-*.json")):
        row = json.loads(path.read_text())
        found.setdefault(f"{row['failure']} {row['rule']}".strip(), []).append(row)
    both = {name: together(rows, length * len(rows)) for name, rows in found.items()}
    old = both["reference"]
    for name, row in both.items():
        if name != "reference" and row["kappa"] and old["kappa"]:
            difference, sigma = row["kappa"] - old["kappa"], float(np.hypot(row["error"], old["error"]))
            row["difference"] = [difference, sigma]
            row["nanoseconds for 2 sigma"] = length * (2 * sigma / difference) ** 2
    return both


def together(rows, nanoseconds):
    """Mean conductivity over seeds and its error, the larger of those of the runs and of their scatter."""
    good = [row for row in rows if "kappa" in row]
    runs = np.array([run for row in good for run in row["kappa"]["runs"]])
    found = {"kappa": None, "runs": len(runs), "failed": [row["failed"] for row in rows if "failed" in row]}
    if len(runs):
        errors = [float(np.sqrt((runs[:, 1] ** 2).sum()) / len(runs))]
        errors += [float(runs[:, 0].std(ddof=1) / len(runs) ** 0.5)] if len(runs) > 1 else []
        found |= {"kappa": float(runs[:, 0].mean()), "error": max(errors), "nanoseconds": nanoseconds}
    found["lifetimes"] = [summary(row["lifetimes"]) for row in rows if "lifetimes" in row]
    found["bands"] = [band for row in rows for band in row.get("bands", []) if band["n_sets"]]
    return found | {"rule": rows[0]["rule"], "failure": rows[0]["failure"]}


def explorations(study, name, rule, seed):
    """Frames that a loop considered, chose and rejected for their energy, and how many it chose on the way of a hop."""
    loop = study.loop(name, rule, seed)
    found = {"considered": 0, "chosen": 0, "rejected for energy": 0, "left physics": 0, "of hops": 0}
    for number, record in enumerate(loop.records()):
        if record["exploration"] is None:
            continue
        found["considered"] += record["exploration"]["considered"]
        found["chosen"] += record["labels"]["new"]
        found["rejected for energy"] += record["exploration"]["energy_rejected"]
        found["left physics"] += record["exploration"]["blow_ups"]
        found["of hops"] += sum(is_of_hop(study, item.frame.positions) for item in loop.frames(f"round-{number:03d}"))
    return found


def is_of_hop(study, x):
    """Whether an atom is beyond 0.4 of the distance of neighbours from every site."""
    shift = x[:, None] - study.sites
    shift -= study.fast.lengths * np.rint(shift / study.fast.lengths)
    nearest = (shift**2).sum(axis=2).argmin(axis=1)
    drift = np.median(shift[np.arange(len(x)), nearest], axis=0)
    away = ((shift - drift) ** 2).sum(axis=2).min(axis=1)
    return bool(away.max() > (0.4 * 3.86) ** 2)


def results_of(study):
    """Everything that was found."""
    from rare_events_compare import reference_run

    reference, snapshots = reference_run(study)
    rows = [json.loads(p.read_text()) for p in (study.folder / "compare").glob("*.json") if "transport" not in p.name]
    rows.sort(key=lambda row: row["seed"])
    rate = poisson_rate(len(reference.events), reference.duration / 1000)
    heights: dict[tuple[str, str], list[float]] = {}
    for name, rule, _, height in json.loads((study.folder / "barriers.json").read_text()):
        heights.setdefault((name, rule), []).append(height)
    results = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "temperature": TEMPERATURE,
        "reference": {
            "events": rate.count,
            "nanoseconds": rate.exposure,
            "rate": rate.rate,
            "interval": [rate.lower, rate.upper],
            "event frames from hops": len(snapshots),
            "barrier": heights["reference", ""][0],
        },
        "failures": {},
        "transport": kappas(study),
    }
    for name in study.failures:
        own = {rule: [row for row in rows if (row["failure"], row["rule"]) == (name, rule)] for rule in RULES}
        found = {rule: pooled(some, reference) for rule, some in own.items() if some}
        for rule, row in found.items():
            row["barriers"] = heights.get((name, rule))
        errors = {rule: one["force errors"]["event"] for rule, one in found.items()}
        pairs = {}
        for rule in (r for r in RULES if r in errors and r != "published" and None not in errors[r]):
            n = min(len(errors["published"]), len(errors[rule]))
            pairs[rule] = paired(errors["published"][:n], errors[rule][:n])
        loops = {
            rule: [explorations(study, name, rule, row["seed"]) for row in some]
            for rule, some in own.items()
            if rule not in {"before", MORE}
        }
        results["failures"][name] = {"ensembles": found, "published over": pairs, "explorations": loops}
    return results


def with_rates(failure):
    """Ensembles whose events were counted."""
    return [(rule, row) for rule, row in failure["ensembles"].items() if "rate" in row]


def write_table(path, results):
    """Rates of events as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["failure", "ensemble", "events", "ns", "per ns", "lower", "upper", "ratio", "least", "most"])
        old = results["reference"]
        writer.writerow(
            ["", "reference", old["events"], f"{old['nanoseconds']:.2f}"]
            + [f"{value:.2f}" for value in (old["rate"], *old["interval"])]
            + ["1", "", ""]
        )
        for name, failure in results["failures"].items():
            for rule, row in with_rates(failure):
                numbers = (row["rate"], *row["interval"], row["ratio"], *row["ratio interval"])
                writer.writerow(
                    [name, rule, row["events"], f"{row['nanoseconds']:.2f}"] + [f"{value:.2f}" for value in numbers]
                )


def draw_ratios(axes, results):
    """Ratios of rates."""
    ticks, place = [], 0
    for name, failure in results["failures"].items():
        for rule, row in with_rates(failure):
            low, high = row["ratio interval"]
            axes.plot([max(low, 0.02), min(high, 1e4)], [place, place], color=COLOURS[rule], linewidth=3)
            axes.plot(max(row["ratio"], 0.02), place, "o", color=COLOURS[rule])
            ticks.append((place, f"{name}: {LABELS[rule]}"))
            place += 1
        place += 0.6
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks([t[0] for t in ticks], [t[1] for t in ticks], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("rate of events, model / reference (95 %)")


def draw_errors(axes, results):
    """Force errors in frames of events, by seed."""
    place, ticks = 0, []
    for name, failure in results["failures"].items():
        for rule, row in failure["ensembles"].items():
            values = row["force errors"]["event"]
            if None not in values:
                axes.plot(values, [place] * len(values), "o", color=COLOURS[rule], alpha=0.7)
            ticks.append((place, f"{name}: {LABELS[rule]}"))
            place += 1
        place += 0.6
    axes.set_xscale("log")
    axes.set_yticks([t[0] for t in ticks], [t[1] for t in ticks], fontsize=7)
    axes.invert_yaxis()
    axes.set_xticks([1, 2, 3, 5, 10], ["1", "2", "3", "5", "10"])
    axes.minorticks_off()
    axes.set_xlabel("force error around hops of the reference, meV/Å")


def draw_barriers(axes, results):
    """Barriers at rest, by seed."""
    place, ticks = 0, []
    for name, failure in results["failures"].items():
        for rule, row in failure["ensembles"].items():
            if row["barriers"]:
                axes.plot(row["barriers"], [place] * len(row["barriers"]), "o", color=COLOURS[rule], alpha=0.7)
                ticks.append((place, f"{name}: {LABELS[rule]}"))
                place += 1
        place += 0.6
    axes.axvline(results["reference"]["barrier"], color="black", linewidth=0.8)
    axes.set_yticks([t[0] for t in ticks], [t[1] for t in ticks], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("barrier at rest, meV")


def draw_sigma(axes, event):
    """σ^A of frames through one hop."""
    axes.plot(event["time"], event["sigma_a"], color="black")
    axes.axvline(0, color="black", linewidth=0.5, linestyle=":")
    axes.set_ylabel("σ$^A$ of the frame")
    axes.set_xlabel("time from a hop of the reference, ps")


def draw_event(axes, event, name):
    """Error and spread of one kind of model through the same hop."""
    for rule in ("before", "published"):
        row = event[f"{name}, {rule}"]
        axes.plot(event["time"], row["error"], color=COLOURS[rule], label=f"{LABELS[rule]}: error")
        axes.plot(event["time"], row["spread"], ":", color=COLOURS[rule], label=f"{LABELS[rule]}: spread")
    axes.axvline(0, color="black", linewidth=0.5, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel("time from a hop of the reference, ps")
    axes.set_ylabel(f"{name}: largest of an atom, meV/Å")
    axes.set_ylim(top=4 * axes.get_ylim()[1])
    axes.legend(fontsize=6, loc="upper center", ncols=2)


def draw_kappa(axes, transport):
    """Conductivities."""
    names = [name for name, row in transport.items() if row["kappa"]]
    names.sort(key=lambda name: (name != "reference", name))
    for place, name in enumerate(names):
        row = transport[name]
        colour = COLOURS[row["rule"] or "reference"]
        axes.errorbar(row["kappa"], place, xerr=row["error"], fmt="o", color=colour)
    collapsed = {n for n in names if min((one["events"] for one in transport[n]["lifetimes"]), default=0) > LEFT}
    labels = [f"{name}\n(no crystal)" if name in collapsed else name for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize=7)
    axes.locator_params(axis="x", nbins=5)
    axes.invert_yaxis()
    axes.set_xlabel("thermal conductivity, W/(m K)")


def draw_lifetimes(axes, transport):
    """Ratios of lifetimes in bands of frequency, by seed."""
    for shift, (name, row) in enumerate(sorted(transport.items())):
        bands = row["bands"]
        if bands:
            x = [0.5 * (band["low"] + band["high"]) + 0.03 * (shift - 3) for band in bands]
            y = np.array([band["ratio"] for band in bands])
            error = y * np.array([band["relative_error"] for band in bands])
            marker = "o" if row["failure"] == "missed" else "s"
            axes.errorbar(x, y, error, fmt=marker, markersize=4, color=COLOURS[row["rule"]], label=name)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("frequency of phonons, THz")
    axes.set_ylabel("lifetime, model / reference")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=6)


def figure(study, output):
    """Write results, table and figure."""
    from matplotlib.figure import Figure

    output.mkdir(parents=True, exist_ok=True)
    results = results_of(study)
    event = json.loads((study.folder / "event.json").read_text())
    (output / "rare_events.json").write_text(json.dumps(clean(results), indent=1) + "\n")
    write_table(output / "rare_events.csv", results)
    picture = Figure(figsize=(15, 8), layout="constrained")
    panels = picture.subplots(2, 4)
    draw_ratios(panels[0, 0], results)
    draw_errors(panels[0, 1], results)
    draw_kappa(panels[0, 2], results["transport"])
    draw_lifetimes(panels[0, 3], results["transport"])
    draw_sigma(panels[1, 0], event)
    draw_event(panels[1, 1], event, "false")
    draw_event(panels[1, 2], event, "missed")
    draw_barriers(panels[1, 3], results)
    for letter, axes in zip("abcdefgh", panels.flat, strict=False):
        axes.set_title(letter, loc="left", fontweight="bold", fontsize=10)
    picture.savefig(output / "rare_events.png", dpi=150)
    print(f"wrote rare_events.json, rare_events.csv and rare_events.png to {output}")
