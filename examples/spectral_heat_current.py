"""The spectral heat current of an argon crystal, from a run in equilibrium and from a driving force.

    python examples/spectral_heat_current.py [--time 400] [--folder spectral_heat_current]

108 atoms at 50 K. The run in equilibrium is streamed: no trajectory is stored. Writes spectral_heat_current.json and
.png beside this script; ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import platform
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import units
from ase.build import bulk
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

import fluxan
from fluxan.md.ase import FluxanCalculator, frame_of_atoms
from fluxan.md.ase.momenta import draw_momenta, scale_velocities, stand_still
from fluxan.md.example_systems import find_example
from fluxan.md.hnemd.hnemd_run import HnemdRun
from fluxan.md.hnemd.hnemd_settings import HnemdSettings
from fluxan.md.hnemd.spectrum_file import driven_spectrum
from fluxan.system import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fluxan.greenkubo.spectral_conductivity import SpectralHeatCurrent

HERE = Path(__file__).parent
TEMPERATURE, TIMESTEP, EVERY, MAX_LAG = 50.0, 4.0, 5, 2.0
#: Upper limit of the Green-Kubo integral, ps.
WINDOW = 8.0
DRIVING_FORCE = 0.01
#: Highest frequency that the crystal has, THz.
HIGHEST = 2.25


def crystal() -> Frame:
    """The crystal at rest."""
    atoms = bulk("Ar", "fcc", a=5.32, cubic=True).repeat(3)
    return Frame(atoms.positions, None, np.array(atoms.cell), atoms.numbers)


def frames(time: float) -> Iterator[Frame]:
    """Frames of a run in equilibrium, while it runs."""
    from fluxan.trajectory.memory import atoms_of_frame

    atoms = atoms_of_frame(crystal())
    atoms.calc = FluxanCalculator(find_example("ar-liquid").model())
    random = np.random.default_rng(1)
    draw_momenta(atoms, TEMPERATURE, random)
    step = TIMESTEP * units.fs
    atoms.set_constraint(FixCom())
    thermostat = Langevin(atoms, step, temperature_K=TEMPERATURE, friction=2e-3 / units.fs, rng=random, fixcm=False)
    thermostat.run(round(20e3 / TIMESTEP))
    stand_still(atoms)
    scale_velocities(atoms, TEMPERATURE)
    dynamics = VelocityVerlet(atoms, step)
    for k in range(round(time * 1e3 / (TIMESTEP * EVERY))):
        dynamics.run(EVERY)
        yield frame_of_atoms(atoms).replace(time=1e-3 * TIMESTEP * EVERY * k)


def driven(time: float, folder: Path) -> SpectralHeatCurrent:
    """Spectrum of a run under a driving force; continued where it was stopped."""
    settings = HnemdSettings(
        TEMPERATURE, time, TIMESTEP, EVERY, thermalise=20.0, driving_force=(DRIVING_FORCE, 0.0, 0.0), max_lag=MAX_LAG
    )
    model = find_example("ar-liquid").model()
    with closing(HnemdRun(crystal(), model, settings, output=folder / "driven.nc", resume=True)) as run:
        for _ in run.blocks():
            pass
        run.save_spectrum()
        return driven_spectrum(run.spectrum_path, fluxan.driven_conductivity(run.output))


def main() -> None:
    """Run both, compare, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", type=float, default=400.0, help="length of each run, ps")
    parser.add_argument("--folder", type=Path, default=Path("spectral_heat_current"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    model = find_example("ar-liquid").model()
    forms = {
        "driving force": driven(options.time, options.folder),
        "equilibrium": fluxan.spectral_heat_current(
            frames(options.time), model, max_lag=MAX_LAG, window=WINDOW, progress=False
        ),
    }
    facts: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "time": options.time}
    for name, found in forms.items():
        facts[name] = {"kappa": found.integral, "error": found.integral_error}
        print(f"{name}: κ = {found.integral:.3f} ± {found.integral_error:.3f} W/(m K)")
        for part in ("x", "value", "error"):
            facts[name][part] = getattr(found.spectrum, part)[found.spectrum.x <= HIGHEST].tolist()
    one, other = facts["driving force"], facts["equilibrium"]
    deviations = np.subtract(one["value"], other["value"]) / np.hypot(one["error"], other["error"])
    facts["deviations"] = deviations.tolist()
    print(f"differences at {len(deviations)} frequencies in standard errors: {deviations.round(1).tolist()}")
    (HERE / "spectral_heat_current.json").write_text(json.dumps(facts, indent=1) + "\n")
    draw(forms).savefig(HERE / "spectral_heat_current.png", dpi=160)


def draw(forms: dict[str, SpectralHeatCurrent]) -> Any:
    """Spectra and their integrals, with errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, found), colour in zip(forms.items(), ("tab:red", "black"), strict=True):
        for axes, curve in ((left, found.spectrum), (right, found.cumulative)):
            axes.plot(curve.x, curve.value, color=colour, label=name)
            axes.fill_between(curve.x, curve.value - curve.error, curve.value + curve.error, color=colour, alpha=0.2)
            axes.set_xlim(0, HIGHEST)
            axes.set_xlabel("frequency (THz)")
    left.set_ylabel("κ(f) (W m⁻¹ K⁻¹ THz⁻¹)")
    right.set_ylabel("∫κ(f) df (W m⁻¹ K⁻¹)")
    left.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
