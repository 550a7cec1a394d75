"""Ad hoc and transferable mappings of total energies onto silicon's atoms, against a reference with atomic energies.

    python examples/silicon_mapping.py [--seeds 3] [--epochs 300] [--frames 40] [--folder silicon_mapping] [--quick]

After D. Yoo et al., Phys. Rev. Materials 3, 093802 (2019). The reference is the Stillinger-Weber potential,
`shipped:si`. Behler-Parrinello networks are trained on snapshots of (100) slabs with 2×1 dimers at 300 and 500 K: of 8
layers alone; of 8 and 12 layers; of 8 layers, and of the crystal. All sets have as many frames. Each is fitted to
energies alone, and to energies and forces.

The check of the mapping is asked before the training which offsets a set leaves undetermined. After every epoch the
error at invariant points, strained crystals that no set holds, is recorded, and at the end that of slabs of other
thicknesses and of the atoms of each class in them. Everything is kept in the folder; a study that was stopped goes on
where it was. Writes silicon_mapping.json, .csv and .png beside this script; with --quick into the folder.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk, diamond100
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import FIRE

import fluxan
from fluxan.md.ase import FluxanCalculator
from fluxan.potentials.behler_parrinello import BehlerParrinello
from fluxan.potentials.symmetry_functions import default_functions
from fluxan.training.dataset import TrainingSet
from fluxan.training.environment_classes import EnvironmentClasses
from fluxan.training.fit import TrainingRun
from fluxan.training.fit_settings import FitSettings
from fluxan.training.initial_values import fitted_offsets, set_initial_values
from fluxan.training.invariant_monitor import BIAS, RMSE, InvariantMonitor
from fluxan.training.invariant_points import atomic_energies_of
from fluxan.training.loss import LossWeights
from fluxan.training.mapping import atomic_energy_mapping
from fluxan.trajectory.labelled_files import read_labelled
from fluxan.trajectory.labelled_frame import LabelledFrame

LATTICE = 5.431
CUTOFF = 4.8
#: Temperatures, K, and strains in the plane of the trajectories; those to validate with begin anew.
STATES = tuple((temperature, strain) for temperature in (300, 500) for strain in (-0.015, 0.0, 0.015))
THICKNESSES, UNSEEN = (8, 12), (6, 10, 16, 20)
#: Share of the frames of a set from slabs of each thickness, and from the crystal, 0.
SETS = {"8 layers": {8: 1.0}, "8 and 12 layers": {8: 0.5, 12: 0.5}, "8 layers and crystal": {8: 0.7, 0: 0.3}}
LOSSES = {
    "energies": LossWeights(energy=1.0, forces=0.0, virial=0.0),
    "energies and forces": LossWeights(energy=100.0, forces=0.1, virial=0.0),
}
#: Strains of the crystals that are invariant points: hydrostatic, uniaxial, and in a plane.
STRAINS, DIRECTIONS = (-0.02, -0.01, 0.0, 0.01, 0.02), ((1, 1, 1), (1, 0, 0), (1, 1, 0))
BESIDE = Path(__file__).with_suffix("")


def slab(layers: int) -> Atoms:
    """A (100) slab of 2 × 2 cells, dimerised on both sides; `layers` = 0 is the crystal."""
    if not layers:
        return bulk("Si", "diamond", a=LATTICE, cubic=True) * (2, 2, 1)
    atoms = diamond100("Si", size=(2, 2, layers), a=LATTICE, vacuum=8.0)
    atoms.pbc = (True, True, False)
    positions = atoms.positions
    for end in (positions[:, 2].min(), positions[:, 2].max()):
        surface = np.flatnonzero(abs(positions[:, 2] - end) < 0.1)
        below = np.flatnonzero(abs(abs(positions[:, 2] - end) - LATTICE / 4) < 0.1)
        bonds = atoms.get_distances(surface[0], below, mic=True, vector=True)
        bond = bonds[np.linalg.norm(bonds, axis=1).argmin()]
        # Dimers form at right angles to the bonds to the layer below.
        axis = int(abs(bond[0]) > abs(bond[1]))
        rows = np.rint((positions[surface, axis] - positions[surface, axis].min()) / (LATTICE / 2**0.5))
        atoms.positions[surface, axis] += np.where(rows % 2 == 0, 0.5, -0.5)
    return atoms


def labelled(atoms: Atoms) -> Atoms:
    """A copy that keeps energy and forces."""
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
    return copy


def trajectory(
    layers: int, *, temperature: float, strain: float, n_frames: int, heating: int, seed: int
) -> list[Atoms]:
    """Snapshots every 100 fs of a strained slab or crystal, which is relaxed and then heated for some steps of 2 fs."""
    atoms = slab(layers)
    stretch = [1 + strain, 1 + strain, 1.0 if layers else 1 + strain]
    atoms.set_cell(atoms.cell * np.array(stretch), scale_atoms=True)
    atoms.calc = FluxanCalculator(fluxan.load_model("shipped:si"))
    FIRE(atoms, logfile=None).run(fmax=0.02, steps=300)
    rng = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * temperature, rng=rng)
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=temperature, friction=0.01, rng=rng)
    dynamics.run(heating)
    frames = []
    for _ in range(n_frames):
        dynamics.run(50)
        frames.append(labelled(atoms))
        frames[-1].info["trajectory"] = f"{layers} layers {temperature} K {strain} {seed}"
    return frames


def frames_of(options: argparse.Namespace, layers: int, purpose: str) -> list[LabelledFrame]:
    """Frames of all trajectories of a slab or the crystal, state by state, from disk if they are there."""
    path = options.folder / "data" / f"{purpose}-{layers}-layers.xyz"
    if not path.exists():
        states = ((400, 0.0),) if purpose == "unseen" else STATES
        seed = {"train": 0, "validation": 1, "unseen": 2}[purpose]
        n_frames = options.frames if purpose == "train" else options.test_frames
        frames = []
        for k, (temperature, strain) in enumerate(states):
            state = {"temperature": temperature, "strain": strain, "seed": 1000 * layers + 100 * seed + k}
            frames += trajectory(layers, n_frames=n_frames, heating=options.heating, **state)
        unfinished = path.with_suffix(".part")
        write(unfinished, frames, format="extxyz")
        unfinished.replace(path)
    return [item.labelled for item in read_labelled([path])]


def training_frames(options: argparse.Namespace, name: str) -> list[LabelledFrame]:
    """Frames of a set: the first of each trajectory."""
    chosen = []
    for layers, share in SETS[name].items():
        frames = frames_of(options, layers, "train")
        chosen += [item for k, item in enumerate(frames) if k % options.frames < round(share * options.frames)]
    return chosen


def strained_crystals() -> dict[str, LabelledFrame]:
    """Crystals of two atoms, which are equivalent at any strain, with their energies."""
    model, found = fluxan.load_model("shipped:si"), {}
    for strain in STRAINS:
        for direction in DIRECTIONS:
            atoms = bulk("Si", "diamond", a=LATTICE)
            atoms.set_cell(atoms.cell * (1 + strain * np.array(direction)), scale_atoms=True)
            frame = fluxan.Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers)
            name = f"diamond, {strain:+.0%} along {' '.join(np.array(list('xyz'))[np.flatnonzero(direction)])}"
            found[name] = LabelledFrame(frame, float(atomic_energies_of(model, frame).sum()))
    return found


def before_training(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What the check says of a set before any training."""
    frames = training_frames(options, name)
    crystals = strained_crystals()
    candidates = {f"slab of {n} layers": frames_of(options, n, "unseen")[0] for n in UNSEEN}
    candidates["crystal"] = crystals["diamond, +0% along x y z"]
    report = atomic_energy_mapping(None, crystals, frames, candidates)
    return {
        "frames": len(frames),
        "classes": list(report.offsets.names),
        "singular values": report.offsets.singular_values.tolist(),
        "undetermined": [one.coefficients for one in report.offsets.undetermined],
        "candidates": {one.name: one.score for one in report.candidates},
        "verdict": report.verdict,
    }


def fit(name: str, loss: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train one network, or go on with it; its errors."""
    place = options.folder / f"{name}, {loss}, seed {seed}"
    done = place / "result.json"
    if done.exists():
        return json.loads(done.read_text())
    train = TrainingSet(training_frames(options, name))
    held = [item for n in SETS[name] for item in frames_of(options, n, "validation")]
    functions = default_functions([14], cutoff=CUTOFF, triplet_cutoff=3.8, n_radial=10, widths=(1.0,))
    model = BehlerParrinello(functions, hidden=(15, 15), seed=seed)
    set_initial_values(model, train, fitted_offsets(train))
    settings = FitSettings(epochs=options.epochs, batch_size=8, learning_rate=1e-2, patience=options.epochs, seed=seed)
    monitor = InvariantMonitor(strained_crystals())
    begin = time.perf_counter()
    run = TrainingRun(
        model, train, TrainingSet(held), weights=LOSSES[loss], settings=settings, folder=place, monitor=monitor
    )
    result = run.run(resume=True)
    row = result.history[result.epoch]
    outcome = {
        "set": name,
        "loss": loss,
        "seed": seed,
        "epoch": result.epoch,
        "energy RMSE (eV/atom)": result.errors["energy"],
        "forces RMSE (eV/A)": result.errors["forces"],
        RMSE: row[RMSE],
        BIAS: row[BIAS],
        "history": [[row["epoch"], row["validation energy (eV/atom)"], row[RMSE]] for row in result.history],
    }
    outcome |= on_unseen_slabs(result.model, options)
    outcome["wall time (s)"] = round(time.perf_counter() - begin, 1)
    done.write_text(json.dumps(outcome))
    return outcome


def on_unseen_slabs(model: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Errors of total energies of slabs of other thicknesses, and of atomic energies by class, eV."""
    reference = fluxan.load_model("shipped:si")
    classes = EnvironmentClasses([item.frame for item in frames_of(options, 8, "train")])
    totals, by_class = {}, [[] for _ in classes.names]
    for layers in UNSEEN:
        errors = []
        for item in frames_of(options, layers, "unseen"):
            atomic = atomic_energies_of(model, item.frame) - atomic_energies_of(reference, item.frame)
            errors.append(atomic.mean())
            for k, label in enumerate(classes.labels(item.frame)):
                by_class[label].append(atomic[k])
        totals[str(layers)] = float(np.sqrt(np.mean(np.square(errors))))
    means = {name: float(np.mean(part)) for name, part in zip(classes.names, by_class, strict=True) if part}
    return {"unseen slabs RMSE (eV/atom)": totals, "mean error by class (eV)": means}


def summarise(outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means and ranges over seeds by set and loss, meV/atom; how much smaller than with one thickness."""
    rows, alone = [], {}
    for loss in LOSSES:
        for name in SETS:
            these = [one for one in outcomes if one["set"] == name and one["loss"] == loss]
            if not these:
                continue
            points = np.array([one[RMSE] for one in these])
            alone.setdefault(loss, points.mean())
            slabs = [max(one["unseen slabs RMSE (eV/atom)"].values()) for one in these]
            row = {"set": name, "loss": loss, "seeds": len(these)}
            row["energy RMSE, meV/atom"] = round(1e3 * max(one["energy RMSE (eV/atom)"] for one in these), 2)
            row["force RMSE, meV/Å"] = round(1e3 * max(one["forces RMSE (eV/A)"] for one in these), 1)
            row["invariant points, meV/atom"] = round(1e3 * float(points.mean()), 2)
            row["least and most"] = f"{1e3 * points.min():.2f} {1e3 * points.max():.2f}"
            row["one thickness over this"] = round(float(alone[loss] / points.mean()), 1)
            row["unseen slabs, meV/atom"] = round(1e3 * max(slabs), 2)
            for key in these[0]["mean error by class (eV)"]:
                errors = [one["mean error by class (eV)"][key] for one in these]
                row[f"{key}, meV"] = round(1e3 * float(np.mean(errors)), 1)
            rows.append(row)
    return rows


def draw(outcomes: list[dict[str, Any]], path: Path) -> None:
    """Error at invariant points by epoch, one line per seed, and that of slabs by their thickness."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    panels = figure.subplots(2, 2)
    colours = dict(zip(SETS, ("C3", "C0", "C2"), strict=True))
    for column, loss in enumerate(LOSSES):
        for one in (one for one in outcomes if one["loss"] == loss):
            epochs, energy, points = 1e3 * np.array(one["history"]).T
            label = one["set"] if one["seed"] == 0 else None
            upper, lower = panels[:, column]
            upper.plot(epochs / 1e3, points, color=colours[one["set"]], label=label)
            upper.plot(epochs / 1e3, energy, color=colours[one["set"]], linewidth=0.5, alpha=0.6)
            slabs = one["unseen slabs RMSE (eV/atom)"]
            lower.plot([int(n) for n in slabs], [1e3 * x for x in slabs.values()], "o-", color=colours[one["set"]])
        panels[0, column].set(
            title=f"fitted to {loss}", xlabel="epoch", ylabel="strained crystals (meV/atom)", yscale="log"
        )
        panels[1, column].set(
            xlabel="layers of slabs that are in no set", ylabel="total energy (meV/atom)", yscale="log"
        )
    panels[0, 0].legend(title="trained on (thin: energy RMSE)", frameon=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Run the study, or what is left of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--frames", type=int, default=40, help="per trajectory")
    parser.add_argument("--test-frames", type=int, default=10, help="per trajectory, to validate and to test with")
    parser.add_argument("--heating", type=int, default=200, help="steps before the first frame")
    parser.add_argument("--folder", type=Path, default=Path("silicon_mapping"))
    parser.add_argument("--quick", action="store_true", help="a few frames and epochs, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.epochs, options.frames, options.test_frames, options.heating = 1, 4, 4, 2, 20
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Use thermalize_momenta|The implementation of `fixcm=True`")
    (options.folder / "data").mkdir(parents=True, exist_ok=True)
    before = {name: before_training(name, options) for name in SETS}
    for name, said in before.items():
        print(f"{name}: {said['verdict']}", flush=True)
    outcomes = []
    for seed in range(options.seeds):
        for loss in LOSSES:
            for name in SETS:
                one = fit(name, loss, seed, options)
                errors = f"energies {1e3 * one['energy RMSE (eV/atom)']:.2f}, crystals {1e3 * one[RMSE]:.2f} meV/atom"
                print(f"seed {seed}, {name}, {loss}: {errors}, {one['wall time (s)']:.0f} s", flush=True)
                outcomes.append(one)
    finish(before, outcomes, options)


def finish(before: dict[str, Any], outcomes: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Write the tables and the figure."""
    target = options.folder / BESIDE.name if options.quick else BESIDE
    rows = summarise(outcomes)
    for row in rows:
        print(row)
    with target.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    facts = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores; torch {torch.__version__}",
        "wall time of the fits (s)": round(sum(one["wall time (s)"] for one in outcomes), 1),
        "settings": {name: str(value) for name, value in vars(options).items() if name != "folder"},
        "before training": before,
        "fits": [{key: value for key, value in one.items() if key != "history"} for one in outcomes],
    }
    target.with_suffix(".json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draw(outcomes, target.with_suffix(".png"))


if __name__ == "__main__":
    main()
