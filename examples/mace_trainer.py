"""Active learning with MACE: a trainer that runs MACE's own training program, for `fluxan learn`.

    fluxan learn examples/mace_learning.toml

A file of active learning names it, and gives its options:

    [train]
    trainer = "mace_trainer:make"
    [train.options]
    python = "/home/me/mace/bin/python"    # of the environment that has mace-torch; by default, fluxan's own
    max_num_epochs = 60                    # of a first fit
    later_epochs = 30                      # of a fit that starts from the round before
    r_max = 4.0                            # this and all others are options of mace_run_train

Members are read as TorchScript, for which fluxan's environment needs no MACE.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.io import write

import fluxan
from fluxan.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fluxan.potentials.base import Potential
    from fluxan.trajectory.labelled_frame import LabelledFrame

#: Names of the labels. ASE takes plain "energy" and "forces" for itself, and MACE warns of them.
KEYS = {"energy_key": "REF_energy", "forces_key": "REF_forces", "stress_key": "REF_stress"}
#: A small model; each can be given as an option, as can any other of mace_run_train.
DEFAULTS = {
    "r_max": 4.0,
    "num_channels": 16,
    "max_L": 0,
    "correlation": 2,
    "batch_size": 2,
    "valid_batch_size": 8,
    "E0s": "average",
    "default_dtype": "float64",
    "device": "cpu",
    "plot": False,
}
#: Options that are the trainer's own.
OWN = ("name", "seed", "work_dir", "model_dir", "train_file", "valid_file", "foundation_model", "multiheads_finetuning")
NAME = "member"


class MaceTrainer:
    """Fits members with MACE in a process of its own.

    Parameters
    ----------
    python : str
        Interpreter of an environment that has mace-torch.
    max_num_epochs, later_epochs : int
        Epochs of a first fit, and of one that starts from another.
    options : dict
        Further options of mace_run_train, by name.
    """

    def __init__(self, python: str, max_num_epochs: int, later_epochs: int, options: dict[str, Any]) -> None:
        self._python, self._epochs, self._later, self._options = python, max_num_epochs, later_epochs, options

    def fit(
        self,
        train: Sequence[LabelledFrame],
        validation: Sequence[LabelledFrame],
        *,
        folder: Path,
        seed: int,
        start: Path | None,
    ) -> None:
        """Fit one member; what an interrupted fit has left is removed, so that it comes to the same model."""
        folder = folder.resolve()
        for left in folder.glob("mace*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        # A folder of its own until the model is whole: MACE may outlive a loop that was killed, and still write there.
        work = folder / f"mace-{os.getpid()}"
        work.mkdir(parents=True)
        write_frames(work / "train.xyz", train)
        write_frames(work / "valid.xyz", validation)
        options = DEFAULTS | self._options | KEYS
        options |= {"name": NAME, "seed": seed, "work_dir": work, "model_dir": work, "max_num_epochs": self._epochs}
        options |= {"train_file": work / "train.xyz", "valid_file": work / "valid.xyz"}
        if start is not None:
            options |= self._start_from(start.resolve(), [*train, *validation])
        self._run(options, folder / "mace.log")
        if not (work / f"{NAME}.model").exists():
            raise ModelError(f"MACE ended without a model; see {folder / 'mace.log'}")
        work.rename(folder / "mace")

    def load(self, folder: Path) -> Potential:
        """The member of a folder: as TorchScript, or pickled where MACE could not write that."""
        script = folder / "mace" / f"{NAME}_compiled.model"
        if script.exists():
            return fluxan.load_model(f"mace:{script}")
        return fluxan.load_model(f"mace:{folder / 'mace' / NAME}.model", trust_pickle=True)

    def _start_from(self, start: Path, frames: Sequence[LabelledFrame]) -> dict[str, Any]:
        """Options by which MACE goes on from the weights and atomic energies of another member."""
        known: Any = self.load(start)
        new = {int(z) for item in frames for z in item.frame.numbers} - set(known.elements)
        if new:
            warnings.warn(f"{start} knows no element {sorted(new)}: this fit starts anew", stacklevel=3)
            return {}
        # E0s="foundation" would do, but MACE 0.3.16 fails on it for models of one element.
        energies = known.model.atomic_energies_fn.atomic_energies.reshape(-1).tolist()
        return {
            "foundation_model": start / "mace" / f"{NAME}.model",
            "multiheads_finetuning": False,
            "E0s": dict(zip(known.elements, energies, strict=True)),
            "max_num_epochs": self._later,
        }

    def _run(self, options: dict[str, Any], log: Path) -> None:
        """Run the program; its output goes to a log, whose last line tells why it failed."""
        command = [self._python, "-m", "mace.cli.run_train"]
        command += [f"--{name}" if value == "" else f"--{name}={value}" for name, value in options.items()]
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        try:
            with log.open("w", encoding="utf-8") as out:
                done = subprocess.run(command, env=environment, stdout=out, stderr=subprocess.STDOUT, check=False)
        except OSError as error:
            raise InputError(f"train.options.python: {self._python} cannot be run ({error.strerror})") from error
        if done.returncode:
            last = error_of(log.read_text(encoding="utf-8", errors="replace"))
            raise ModelError(f"MACE failed with exit status {done.returncode}: {last} (all in {log})")


def error_of(text: str) -> str:
    """The last line of an output that names an error, or else its last line."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b|\S+: error:", line)]
    return (named or lines or ["no output"])[-1]


def write_frames(path: Path, frames: Sequence[LabelledFrame]) -> None:
    """Write frames as extended XYZ with MACE's names of labels; eV, eV/Å and eV/Å³."""
    written = []
    for item in frames:
        frame = item.frame
        atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
        if item.energy is not None:
            atoms.info[KEYS["energy_key"]] = item.energy
        if item.forces is not None:
            atoms.arrays[KEYS["forces_key"]] = item.forces.copy()
        if item.virial is not None and frame.volume is not None:
            atoms.info[KEYS["stress_key"]] = -item.virial / frame.volume
        written.append(atoms)
    write(path, written, format="extxyz")


def make(
    python: str = sys.executable, max_num_epochs: int = 60, later_epochs: int | None = None, **options: Any
) -> MaceTrainer:
    """The trainer; `options` are those of mace_run_train, an empty text standing for a flag (``ema = ""``)."""
    taken = sorted(set(options) & {*OWN, *KEYS})
    if taken:
        raise InputError(f"train.options: {', '.join(taken)} cannot be given; the trainer sets it")
    return MaceTrainer(python, max_num_epochs, max_num_epochs if later_epochs is None else later_epochs, options)
