"""A screening of five toy crystals: which need active learning, since their first model misses events or invents them.

    python examples/screen_crystals.py [--folder screening] [--quick]

Writes structures and a file of settings, and runs what `fluxan learn settings.toml --screen structures` runs: for each
crystal a short loop, and events by the first and the last models against those of the reference. The reference is a
Lennard-Jones potential, as a function that returns an ASE calculator. An interrupted run goes on.
Writes screen_crystals.json beside this script; with --quick, two crystals, into the folder alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import write

import fluxan
from fluxan.active.learn_config import read_learn_config
from fluxan.active.screen import screen, structures_in
from fluxan.md.ase import FluxanCalculator
from fluxan.potentials.load import parse_model

SETTINGS = """
[reference]
calculator = "screen_crystals:reference"
[start]
temperature = 85.0
frames = 16
test_frames = {test_frames}
timestep = 10.0
spacing = 0.1
[model]
kind = "behler-parrinello"
cutoff = 6.0
zetas = []
n_radial = 8
first_shift = 2.6
hidden = [8, 8]
[fit]
epochs = {epochs}
learning_rate = 0.01
batch_size = 4
patience = 400
[train]
epochs = {later_epochs}
[ensemble]
subsamples = 2
seeds = 2
[explore]
temperature = 85.0
time = {time}
timestep = 10.0
spacing = 0.1
samples = 10
[stop]
rounds = {rounds}
[output]
folder = "out"
"""


def reference():
    """Lennard-Jones argon and krypton, whose forces vanish at the cutoff."""
    text = fluxan.load_model("shipped:ar-kr").describe()
    return FluxanCalculator(parse_model(text.replace('truncation = "none"', 'truncation = "force"'), source="ar-kr"))


def crystals():
    """Atoms and lattice sites by name."""
    argon = bulk("Ar", "fcc", a=5.46, cubic=True).repeat(2)
    krypton = bulk("Kr", "fcc", a=5.72, cubic=True).repeat(2)
    alloy = argon.copy()
    alloy.set_cell(alloy.cell * 1.02, scale_atoms=True)
    alloy.numbers[np.random.default_rng(1).permutation(len(alloy))[:8]] = 36
    wide = argon.copy()
    wide.set_cell(wide.cell * 1.03, scale_atoms=True)
    return {
        "argon": (argon, argon),
        "argon-vacancy": (argon[1:], argon),
        "argon-two-vacancies": (argon[[k for k in range(32) if k not in (0, 21)]], argon),
        "argon-stretched-vacancy": (wide[1:], wide),
        "krypton-vacancy": (krypton[1:], krypton),
        "argon-krypton-vacancy": (alloy[1:], alloy),
    }


def main():
    """Write the files, screen, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("screening"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    place = options.folder / "structures"
    place.mkdir(parents=True, exist_ok=True)
    chosen = dict(list(crystals().items())[: 2 if options.quick else None])
    for name, (atoms, sites) in chosen.items():
        write(place / f"{name}.xyz", atoms)
        write(place / f"{name}.sites.xyz", sites)
    numbers = {"test_frames": 200, "epochs": 150, "later_epochs": 60, "time": 6.0, "rounds": 2}
    if options.quick:
        numbers = {"test_frames": 20, "epochs": 10, "later_epochs": 5, "time": 0.6, "rounds": 1}
    settings = options.folder / "settings.toml"
    settings.write_text(SETTINGS.format(**numbers), encoding="utf-8")
    (options.folder / "screen_crystals.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    rows = screen(read_learn_config(settings, structures_in(place)), print)
    for row in rows:
        print(row["name"], *(f"{when}: {row[when]['verdict']}" for when in ("before", "after")), sep=", ")
    output = (options.folder if options.quick else Path(__file__).parent) / "screen_crystals.json"
    output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
