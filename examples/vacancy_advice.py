"""Advice on a poor training set, followed: a vacancy of silicon by a model that has never seen one.

    python examples/vacancy_advice.py [--quick] [--folder DIR]

A linear model of Stillinger-Weber silicon is fitted to energies and forces of displaced perfect crystals. `fluxan
defects` says what limits it; its changes are made to the file as they are, with the number of structures that the
reference labels kept the same, and the study runs again, five times or until the advice asks for more structures. The
link to heat: linewidths of phonons of a crystal with the vacancy, by the reference, the first model and the best.

Writes vacancy_advice.json and vacancy_advice.png beside this script, or into the folder; the studies go to a folder
beside them, and are resumed.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import torch
from ase.build import bulk
from ase.io import write

from fluxan.generalization.advice import advice_on
from fluxan.generalization.defect_errors import relax_defect
from fluxan.generalization.defect_study import run_study
from fluxan.generalization.defects import vacancy
from fluxan.generalization.phonon_scattering import compare_linewidths, linewidths
from fluxan.generalization.study_config import read_study_config
from fluxan.generalization.study_table import letters
from fluxan.md.ase import FluxanCalculator

LATTICE, INWARD, REFERENCE = 5.430949777, 0.5, "shipped:si"
POOR = {
    "reference": {"model": REFERENCE},
    "crystal": {"structure": "silicon.xyz"},
    "defects.vacancy": {"kind": "vacancy", "inward": INWARD},
    "model": {"cutoff": 4.0, "triplet_cutoff": 3.8, "n_radial": 8, "first_shift": 1.8, "zetas": [1.0, 2.0, 4.0]},
    "training": {"cells": [3], "around": "crystal", "frames": 40},
    "observations": {"sets": [["energy", "forces"]]},
    "evaluation": {"cell": 8},
}
#: Most rounds of advice; broadenings of the linewidths, THz; bins of frequency.
ROUNDS, BROADENINGS, BINS = 5, (0.3, 0.6), 8


def toml_of(table):
    """Text of a table of tables, whose values JSON writes as TOML does."""
    lines = []
    for section, values in table.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict)]
        for key, value in values.items():
            if isinstance(value, dict):
                lines.append(f"{key} = {{ {', '.join(f'{k} = {v!r}' for k, v in value.items())} }}")
    return "\n".join(lines) + "\n"


def study(table, folder, number):
    """Run the study of a table; its record, its advice and its model."""
    path = folder / f"round-{number}.toml"
    path.write_text(toml_of(table))
    config = read_study_config(path)
    records = run_study(config, FluxanCalculator(REFERENCE), FluxanCalculator, resume=True)
    record = records[-1]
    cells = config.folder / "vacancy" / f"cells-{record['cells']}"
    return (
        record,
        advice_on(config, records),
        cells / f"{letters(record['observations']).replace(' ', '-')}.safetensors",
    )


def followed(table, advice):
    """The table with the changes of the first advice."""
    changed = copy.deepcopy(table)
    for section, values in advice[0].changes.items():
        changed[section] |= values
    return changed


def with_structures(table, n_structures):
    """The table with as many structures in all: force constants of silicon take 2 of them, virials 13."""
    observed = table["observations"]["sets"][0]
    extra = 1 + 2 * ("force_constants" in observed) + 13 * ("virial" in observed)
    return {**table, "training": {**table["training"], "frames": n_structures - extra}}


def rounds_of(table, folder):
    """Follow the advice round by round."""
    rounds, n_structures = [], table["training"]["frames"] + 1
    while len(rounds) < ROUNDS:
        record, advice, model = study(with_structures(table, n_structures), folder, len(rounds))
        rounds.append({"record": record, "advice": [one._asdict() for one in advice], "model": str(model)})
        error = "-" if record["geometry"] is None else f"{record['geometry']:.4f} A, {1e3 * record['energy']:.1f} meV"
        print(f"round {len(rounds) - 1}: {letters(record['observations'])}, {record['structures']} structures: {error}")
        print(f"   {record['reason']}{advice[0].text}", flush=True)
        if "frames" in advice[0].changes.get("training", {}):
            break
        table = followed(table, advice)
    return rounds


def scattering(model, n_cells):
    """Linewidths of a crystal with a vacancy, by a model."""
    calculator = FluxanCalculator(model)
    defect = vacancy(bulk("Si", "diamond", a=LATTICE, cubic=True).repeat(n_cells), inward=INWARD)
    relaxed = relax_defect(defect, calculator, tolerance=1e-5).relaxed
    if relaxed.reason:
        print(f"{model}: {relaxed.reason}")
        return None
    return linewidths(defect, relaxed.atoms, calculator, broadenings=BROADENINGS)


def compared(reference, model):
    """Ratios of rates, model over reference, for each broadening."""
    if model is None:
        return None
    rows = []
    for one, other in zip(reference, model, strict=True):
        found = compare_linewidths(one, other, n_bins=BINS, by="rank")
        rows.append({
            "broadening": one.broadening, "frequencies": np.asarray(found.frequencies).tolist(),
            "ratios": np.asarray(found.ratios).tolist(), "rms": float(found.rms), "mean": float(found.mean_ratio),
        })  # fmt: skip
    return rows


def draw(result, path):
    """Errors by round, and ratios of linewidths by frequency."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    usable = [k for k, one in enumerate(result["rounds"]) if one["record"]["geometry"] is not None]
    for quantity, label, style in (("geometry", "geometry (Å)", "o-"), ("energy", "|energy| (eV)", "s--")):
        left.semilogy(usable, [abs(result["rounds"][k]["record"][quantity]) for k in usable], style, label=label)
    left.set_xticks(range(len(result["rounds"])))
    left.set_xlabel("round of advice")
    left.set_ylabel("error of the vacancy")
    left.legend(frameon=False)
    for name, style in (("poor", "s--"), ("advised", "o-")):
        for shade, row in zip((1.0, 0.4), result["linewidths"][name] or [], strict=False):
            label = f"{name}, σ = {row['broadening']} THz"
            colour = "C1" if name == "poor" else "C0"
            right.plot(row["frequencies"], row["ratios"], style, color=colour, alpha=shade, markersize=4, label=label)
    right.axhline(1.0, color="0.5", linewidth=0.8)
    right.set_xlabel("frequency (THz)")
    right.set_ylabel("1/τ, model over reference")
    right.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def main():
    """Run the rounds, compare linewidths, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small cells")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where the results go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    studies = options.folder / "vacancy-advice"
    studies.mkdir(parents=True, exist_ok=True)
    write(studies / "silicon.xyz", bulk("Si", "diamond", a=LATTICE))
    table, n_cells = copy.deepcopy(POOR), 4
    if options.quick:
        table["evaluation"]["cell"], table["training"]["frames"], n_cells = 6, 20, 2
    rounds = rounds_of(table, studies)
    best = min((one for one in rounds if one["record"]["geometry"]), key=lambda one: one["record"]["geometry"])
    reference = scattering(REFERENCE, n_cells)
    found = {"poor": rounds[0]["model"], "advised": best["model"]}
    widths = {name: compared(reference, scattering(model, n_cells)) for name, model in found.items()}
    for one in rounds:
        one["model"] = Path(one["model"]).name
    result = {"rounds": rounds, "linewidths": widths}
    for name, rows in widths.items():
        for row in rows or []:
            print(f"{name}: rms of 1/tau relative to the reference {row['rms']:.3f} at {row['broadening']} THz")
    (options.folder / "vacancy_advice.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(result, options.folder / "vacancy_advice.png")


if __name__ == "__main__":
    main()
