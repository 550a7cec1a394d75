"""Networks for silver iodide trained with and without the heat-flux term, against the potential that labelled them.

    python examples/silver_iodide.py [--quick] [--folder silver-iodide]

1. Frames of wurtzite at 300 K and of α-AgI at 650 K from molecular dynamics with `shipped:agi`, the reference.
2. The strength of the flux term: a linear model, then networks at five strengths from three seeds.
3. Trajectories of the reference, and along them the flux by the reference and by every network without the term, at the
   chosen strength, and at the largest one.
4. Spectra of the flux that each element carries, and their distance from the reference: as it is, with each atom's mean
   virial removed after the run, and with the gauge fixed after the run. κ with and without zero mass flux.
5. Time until molecular dynamics with a network fails at a raised temperature.

An interrupted study goes on where it was. Writes silver_iodide.json, .png and _scan.png beside this script; with
--quick, a small version that checks that every stage runs, it writes into the folder alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import ase
import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import Trajectory, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.md.verlet import VelocityVerlet

import fluxan
from fluxan.md.ase import FluxanCalculator
from fluxan.report.strength_figure import draw_scan
from fluxan.series.gauge_fixing import gauge_fixed
from fluxan.series.heat_flux_series import HeatFluxSeries
from fluxan.training.linear_scan import scan_linear
from fluxan.training.network_scan import scan_networks
from fluxan.training.spectral_distance import carrier_spectra, spectral_distance
from fluxan.training.training_config import read_training_config
from fluxan.training.training_job import load_data, make_linear

REFERENCE = "shipped:agi"
TEMPERATURES = {"wurtzite": 300.0, "alpha": 650.0}
ELEMENTS = ("Ag", "I")
#: Bands of frequency, THz.
BANDS = {"below 1 THz": (0.0, 1.0), "1 to 3 THz": (1.0, 3.0), "3 to 10 THz": (3.0, 10.0)}
#: Treatments of the fluxes of networks: how they were trained, and what was removed after the run.
TREATMENTS = ("no term", "no term, mean virial removed", "no term, gauge fixed", "term", "term, gauge fixed")
TREATMENTS += ("largest strength",)
GAUGE_FIXED = "reference, gauge fixed"
#: Interval between frames, ps.
STEP = 0.02
CONFIG = """
[data]
files = ["frames.xyz"]
units = {{ energy = "eV", forces = "eV/A", stress = "eV/A^3" }}
validation = 0.2

[model]
kind = "behler-parrinello"
cutoff = 8.0
triplet_cutoff = 5.0

[loss]
energy = 100.0
forces = 1.0
virial = 10.0

[flux]
temperature = 500.0

[fit]
epochs = {epochs}
batch_size = 4
learning_rate = 5e-3

[scan]
strengths = {strengths}
seeds = {seeds}
epochs = {scan_epochs}

[output]
folder = "networks"
"""


@dataclass(frozen=True)
class Size:
    """How large the study is."""

    runs: int
    frames: int
    epochs: int
    scan_epochs: int
    strengths: int
    seeds: int
    picoseconds: float
    hot_picoseconds: float
    cells: tuple[int, int, int]
    interval: int


FULL = Size(10, 10, 120, 40, 5, 3, 50.0, 5.0, (3, 3, 2), 100)
QUICK = Size(2, 3, 2, 1, 3, 2, 2.0, 0.1, (2, 2, 1), 10)


def crystal(phase, size, rng):
    """Atoms of a phase: 72 or 16 of wurtzite, 108 or 32 of α-AgI with silver on random tetrahedral sites."""
    if phase == "wurtzite":
        return bulk("AgI", "wurtzite", a=4.60, c=7.40).repeat(size.cells)
    n, edge = (3 if size.cells[0] == 3 else 2), 5.06
    corners = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    half, quarter = 0.5, 0.25
    sites = np.array([np.roll((x, y, 0.0), k) for k in range(3) for x, y in ((half, quarter), (half, 1 - quarter))])
    silver = []
    for corner in corners:
        while True:
            pair = sites[rng.choice(len(sites), 2, replace=False)]
            step = pair[0] - pair[1]
            if np.linalg.norm(step - np.rint(step)) > 0.45:
                break
        silver += list(corner + pair)
    positions = edge * np.concatenate([silver, corners, corners + half])
    return ase.Atoms(f"Ag{2 * n**3}I{2 * n**3}", positions=positions, cell=[n * edge] * 3, pbc=True)


def equilibrated(phase, size, seed, model, *, strain=0.0):
    """Atoms at the temperature of their phase, in a cell that is strained at random, and the thermostat's run."""
    rng = np.random.default_rng(seed)
    atoms = crystal(phase, size, rng)
    deform = strain * rng.uniform(-1, 1, (3, 3))
    deform = 0.5 * (deform + deform.T) if phase == "wurtzite" else np.eye(3) * deform[0, 0]
    atoms.set_cell(atoms.cell @ (np.eye(3) + deform), scale_atoms=True)
    atoms.calc = FluxanCalculator(model)
    temperature = TEMPERATURES[phase]
    thermalize_momenta(atoms, temperature_K=temperature * (2 if phase == "wurtzite" else 1), rng=rng)
    Stationary(atoms)
    if phase == "alpha":  # random sites: strong friction and short steps at first
        langevin(atoms, 2.0, 0.02, temperature, rng).run(2 * size.interval)
    return atoms, langevin(atoms, 5.0, 0.01, temperature, rng)


def langevin(atoms, femtoseconds, friction, temperature, rng):
    """Langevin dynamics; the friction is in 1/fs."""
    return Langevin(
        atoms, femtoseconds * units.fs, temperature_K=temperature, friction=friction / units.fs, fixcm=False, rng=rng
    )


def make_frames(path, size):
    """Labelled frames of independent runs of both phases."""
    if path.exists():
        return
    model, images = fluxan.load_model(REFERENCE), []
    for k, phase in enumerate(TEMPERATURES):
        for run in range(size.runs):
            atoms, dynamics = equilibrated(phase, size, 1000 * k + run, model, strain=0.03)
            dynamics.run(4 * size.interval)
            for _ in range(size.frames):
                dynamics.run(size.interval)
                image = atoms.copy()
                image.info["trajectory"] = f"{phase} {run}"
                labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
                image.calc = SinglePointCalculator(image, stress=atoms.get_stress(), **labels)
                images.append(image)
    write(path.with_suffix(".part"), images, format="extxyz")
    path.with_suffix(".part").replace(path)


def make_trajectory(path, phase, size):
    """A trajectory of the reference at constant energy, a frame every 20 fs."""
    if path.exists():
        return
    model = fluxan.load_model(REFERENCE)
    atoms, dynamics = equilibrated(phase, size, 77, model)
    dynamics.run(20 * size.interval)
    Stationary(atoms)
    part = path.with_suffix(".part")
    with Trajectory(str(part), "w", atoms) as trajectory:
        verlet = VelocityVerlet(atoms, 5.0 * units.fs)
        verlet.attach(trajectory.write, interval=4)
        verlet.run(round(size.picoseconds / 0.005))
    part.replace(path)


def networks_of(scan):
    """Model files by treatment and seed: without the term, at the estimate, at the largest strength."""
    nearest = int(np.abs(np.log(scan.strengths / scan.estimate.strength)).argmin())
    rows = {"no term": 0, "term": 1 + nearest, "largest strength": len(scan.strengths)}
    return {name: [folder / "model.safetensors" for folder in scan.folders[row]] for name, row in rows.items()}


def fluxes(trajectory, model, output):
    """Dataset of the flux along a trajectory, with the mean virial."""
    done = output.with_suffix(".done")
    options = {"timestep": STEP}
    if not done.exists():
        dataset = fluxan.decompose(
            trajectory, model, output=output, resume=output.exists(), progress=False, reader=options
        )
        with dataset:
            whole = fluxan.with_mean_virial(dataset.load(), trajectory, model, reader=options)
            np.save(output.with_suffix(".npy"), whole["mean_virial"].transpose("time", "carrier", "xyz").values)
        done.touch()
    return output, np.load(output.with_suffix(".npy"))


def carriers(flux_file, mean_virial, treatment):
    """Virial flux that each element carries, (n, 2, 3) eV Å/ps, after a treatment; and the velocities."""
    with fluxan.open_flux(flux_file) as dataset:
        flux = dataset["potential"].sum("owner").transpose("time", "carrier", "xyz").values
        velocity = dataset["velocity"].transpose("time", "carrier", "xyz").values
    if treatment.endswith("mean virial removed"):
        return flux - mean_virial
    if treatment.endswith("gauge fixed"):
        return gauge_fixed(HeatFluxSeries.of_samples(flux, STEP, ELEMENTS, velocity=velocity)).samples
    return flux


def conductivities(flux_file, phase):
    """κ and its error, at zero mass flux and without that."""
    result = {}
    for name, components in (("multicomponent", "multi"), ("naive", "single")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = fluxan.green_kubo(flux_file, components=components)
        result[name] = [float(found.kappa), float(found.error)]
    return result if phase == "alpha" else {"naive": result["naive"]}


def time_to_failure(path, phase, size, model, seed):
    """Time, ps, for which molecular dynamics at twice the temperature stays sound, at most the length of the run."""
    if path.exists():
        return json.loads(path.read_text())
    atoms, _ = equilibrated(phase, size, 500 + seed, fluxan.load_model(REFERENCE))
    atoms.calc = FluxanCalculator(fluxan.load_model(model))
    hot = 2 * TEMPERATURES[phase]
    dynamics = langevin(atoms, 5.0, 0.01, hot, np.random.default_rng(seed))
    sound = 0.0
    while sound < size.hot_picoseconds:
        try:
            dynamics.run(20)
        except fluxan.FluxanError:
            break
        if not np.isfinite(atoms.positions).all() or atoms.get_temperature() > 3 * hot or closest(atoms) < 1.5:
            break
        sound += 0.1
    path.write_text(json.dumps(round(sound, 3)))
    return round(sound, 3)


def closest(atoms):
    """Shortest distance, Å."""
    distances_of_all = atoms.get_all_distances(mic=True)
    return float(distances_of_all[np.triu_indices(len(atoms), 1)].min())


def choose_strength(folder, size):
    """Scan of strengths by a linear model and by networks."""
    config_file = folder / "training.toml"
    config_file.write_text(
        CONFIG.format(epochs=size.epochs, scan_epochs=size.scan_epochs, strengths=size.strengths, seeds=size.seeds)
    )
    config = read_training_config(config_file)
    data = load_data(config.data)
    linear = make_linear(config.model, data.train)
    found = scan_linear(linear, data.train, data.validation, config.weights)
    print(f"linear model: {found.estimate}", flush=True)
    networks = scan_networks(config_file.absolute(), config, found.estimate.strength)
    print(f"networks: {networks.estimate}", flush=True)
    return found, networks


def flux_files(folder, phase, trajectory, files):
    """Fluxes along a trajectory by every network, in processes of their own."""
    jobs = {
        (kind, seed): (trajectory, str(model), folder / f"{phase}-{kind.replace(' ', '-')}-{seed}.nc")
        for kind, models in files.items()
        for seed, model in enumerate(models)
    }
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return dict(zip(jobs, pool.map(fluxes, *zip(*jobs.values(), strict=True)), strict=True))


def analyse(folder, phase, size, files):
    """Distances of spectra, κ, and spectra to draw, of one phase."""
    trajectory = folder / f"{phase}.traj"
    make_trajectory(trajectory, phase, size)
    own_file, own_mean = fluxes(trajectory, REFERENCE, folder / f"{phase}-reference.nc")
    own = {"reference": carriers(own_file, own_mean, ""), GAUGE_FIXED: carriers(own_file, own_mean, "gauge fixed")}
    frequencies, _ = carrier_spectra(own["reference"], STEP)
    table, curves = {}, {name: carrier_spectra(flux, STEP)[1] for name, flux in own.items()}
    kappa = {"reference": [conductivities(own_file, phase)]}
    outputs = flux_files(folder, phase, trajectory, files)
    for treatment in TREATMENTS:
        kind = treatment.partition(",")[0]
        found = [carriers(*outputs[kind, seed], treatment) for seed in range(len(files[kind]))]
        curves[treatment] = np.mean([carrier_spectra(flux, STEP)[1] for flux in found], axis=0)
        table[treatment] = {
            name: [spectral_distance(flux, other, time_step=STEP, bands=BANDS, labels=ELEMENTS) for flux in found]
            for name, other in own.items()
        }
        if kind == treatment:
            kappa[kind] = [conductivities(outputs[kind, seed][0], phase) for seed in range(len(found))]
        print(f"{phase}: {treatment}", flush=True)
    return {"distances": table, "kappa": kappa}, (frequencies, curves)


def draw(results, curves):
    """Spectra by element and phase, and distances at high frequency."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    panels = figure.subplots(len(curves), len(ELEMENTS), squeeze=False)
    for row, (phase, (frequencies, found)) in zip(panels, curves.items(), strict=True):
        shown = frequencies <= 10.0
        for k, (axes, element) in enumerate(zip(row, ELEMENTS, strict=True)):
            for name, spectrum in found.items():
                style = "-" if name.startswith("reference") else "--"
                colour = {"reference": "black", "reference, gauge fixed": "0.6"}.get(name)
                axes.plot(frequencies[shown], spectrum[k, shown], style, color=colour, linewidth=1.2, label=name)
            axes.set_yscale("log")
            axes.set_title(f"{phase}, carried by {element}", fontsize="medium")
            axes.set_xlabel("frequency (THz)")
            axes.set_ylabel("power ((eV Å/ps)²/THz)")
    panels[0, 0].legend(fontsize="x-small", frameon=False)
    figure.suptitle(f"strength {results['strength']['networks']['strength']:.3g}", fontsize="medium")
    return figure


def main():
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small version that takes a minute")
    parser.add_argument("--folder", type=Path, default=Path("silver-iodide"), help="where everything is kept")
    options = parser.parse_args()
    size, start = (QUICK if options.quick else FULL), time.time()
    options.folder.mkdir(parents=True, exist_ok=True)
    make_frames(options.folder / "frames.xyz", size)
    linear, networks = choose_strength(options.folder, size)
    files = networks_of(networks)
    results = {
        "strength": {"linear": vars_of(linear.estimate), "networks": vars_of(networks.estimate)},
        "open directions": len(linear.open_directions.freedom),
        "strengths": networks.strengths.tolist(),
        "validation errors": {name: values.tolist() for name, values in networks.errors.items()},
        "validation errors without the term": {name: values.tolist() for name, values in networks.baseline.items()},
    }
    curves = {}
    for phase in TEMPERATURES:
        results[phase], curves[phase] = analyse(options.folder, phase, size, files)
        results[phase]["picoseconds until failure"] = {
            kind: [
                time_to_failure(options.folder / f"{phase}-{kind}-{seed}.json", phase, size, model, seed)
                for seed, model in enumerate(models)
            ]
            for kind, models in files.items()
        }
    results["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    results["wall time of this call, s"] = round(time.time() - start)
    output = options.folder if options.quick else Path(__file__).parent
    (output / "silver_iodide.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(results, curves).savefig(output / "silver_iodide.png", dpi=150)
    draw_scan(linear, networks).savefig(output / "silver_iodide_scan.png", dpi=150)
    print(summary(results))


def vars_of(record):
    """Fields of a record without a dictionary of its own."""
    return {name: getattr(record, name) for name in record.__slots__}


def summary(results):
    """Distances at high frequency, mean over seeds, and κ."""
    lines = []
    for phase in TEMPERATURES:
        for treatment, found in results[phase]["distances"].items():
            for against, seeds in found.items():
                mean = {e: {band: np.mean([seed[e][band] for seed in seeds]) for band in BANDS} for e in ELEMENTS}
                values = "  ".join(f"{e} {'/'.join(f'{x:.3f}' for x in mean[e].values())}" for e in ELEMENTS)
                lines.append(f"{phase:<9}{treatment:<30}{against:<24}{values}")
        for kind, values in results[phase]["kappa"].items():
            lines.append(f"{phase:<9}{kind:<20}{values}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
