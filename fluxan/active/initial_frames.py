"""The frames before the first round: short molecular dynamics with the reference, or its harmonic distribution.

Dynamics with the reference are expensive where the reference is: its state is on disk after every frame, and an
interrupted run goes on from there to the same frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units
from ase.md.langevin import Langevin

from fluxan.active.anharmonicity import HarmonicReference
from fluxan.active.label_worker import make_calculator
from fluxan.errors import InputError
from fluxan.md.ase.calculator import frame_of_atoms
from fluxan.md.ase.momenta import draw_momenta
from fluxan.plain_files import read_json, write_json
from fluxan.trajectory.labelled_writer import rounded
from fluxan.trajectory.memory import atoms_of_frame
from fluxan.trajectory.structure import open_structure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fluxan.active.learn_config import StartSettings
    from fluxan.active.reference_settings import ReferenceSettings
    from fluxan.system import Frame

#: Friction of the thermostat, 1/ps.
_FRICTION = 2.0


def read_structures(paths: Sequence[Path]) -> list[Frame]:
    """The structures to begin with.

    Raises
    ------
    InputError
        An atom's element is not known, or a structure has no periodic cell.
    """
    frames = []
    for path in paths:
        frame = next(iter(open_structure(path)))
        if (frame.numbers == 0).any():
            raise InputError(f"{path}: some atoms are of unknown element; name them in the file")
        frames.append(frame.replace(velocities=None))
    return frames


def initial_frames(
    structure: Frame, reference: ReferenceSettings, settings: StartSettings, folder: Path, seed: list[int]
) -> list[Frame]:
    """Frames to train on and to test with, in the order of time; the last ones are for the test.

    Parameters
    ----------
    structure : Frame
        Atoms at rest.
    reference : ReferenceSettings
        Drives the dynamics.
    settings : StartSettings
        Temperature, number and distance of frames.
    folder : Path
        Holds the state of the dynamics.
    seed : list of int
        Of everything that is drawn.

    Raises
    ------
    InputError
        The reference cannot be made, or its dynamics fail.
    OutputError
        The state cannot be written.
    """
    count = settings.frames + settings.test_frames
    if settings.method == "displacements":
        return _displaced(structure, reference, settings, count, seed)
    return _Dynamics(structure, reference, settings, folder, seed).frames(count)


def reference_frames(settings: StartSettings, folder: Path, structure: Frame) -> list[Frame]:
    """Frames of finished dynamics with the reference, with their times, ps.

    Raises
    ------
    InputError
        The loop did not begin with dynamics.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise InputError(f"{folder} holds no dynamics with the reference; events are compared with start.method = 'md'")
    atoms = atoms_of_frame(structure)
    frames = []
    for number, path in enumerate(paths):
        state = read_json(path)
        atoms.set_positions(state["positions"])
        atoms.set_momenta(state["momenta"])
        frames.append(frame_of_atoms(atoms).replace(time=number * settings.spacing))
    return frames


def _displaced(
    structure: Frame, reference: ReferenceSettings, settings: StartSettings, count: int, seed: list[int]
) -> list[Frame]:
    """Frames of the harmonic distribution."""
    harmonic = HarmonicReference.from_forces(structure, make_calculator(reference.described()))
    random = np.random.default_rng(seed)
    return [rounded(harmonic.sample(settings.temperature, random)) for _ in range(count)]


class _Dynamics:
    """Langevin dynamics with the reference, frame by frame."""

    def __init__(
        self,
        structure: Frame,
        reference: ReferenceSettings,
        settings: StartSettings,
        folder: Path,
        seed: list[int],
    ) -> None:
        self._settings, self._folder = settings, folder
        self._random = np.random.default_rng(seed)
        self._atoms = atoms_of_frame(structure)
        self._reference = reference

    def frames(self, count: int) -> list[Frame]:
        """Run until there are so many frames, from the last one on disk."""
        self._folder.mkdir(parents=True, exist_ok=True)
        done = sum(1 for _ in self._folder.glob("*.json"))
        if done < count:
            self._atoms.calc = make_calculator(self._reference.described())
            if done:
                self._take(self._path(done - 1))
            else:
                draw_momenta(self._atoms, self._settings.temperature, self._random)
            for number in range(done, count):
                self._advance(self._settings.equilibration if number == 0 else self._settings.spacing)
                self._save(self._path(number))
        return [self._frame(self._path(number)) for number in range(count)]

    def _advance(self, time: float) -> None:
        settings = self._settings
        if hasattr(self._atoms.calc, "forget"):
            self._atoms.calc.forget()  # what follows then depends on the saved state alone, to the last bit
        dynamics = Langevin(
            self._atoms,
            timestep=settings.timestep * units.fs,
            temperature_K=settings.temperature,
            friction=_FRICTION / (1e3 * units.fs),
            fixcm=False,
            rng=self._random,
        )
        try:
            dynamics.run(max(1, round(1e3 * time / settings.timestep)))
        except Exception as error:  # calculators raise anything
            raise InputError(
                f"molecular dynamics with the reference failed: {type(error).__name__}: {error}"
            ) from error
        temperature = self._atoms.get_temperature()
        if not temperature < 5 * settings.temperature:
            raise InputError(
                f"molecular dynamics with the reference reached {temperature:.0f} K at {settings.temperature:g} K; "
                "shorten start.timestep, and see whether the reference gives eV and eV/Å"
            )

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.json"

    def _save(self, path: Path) -> None:
        state: dict[str, Any] = {
            "positions": self._atoms.get_positions().tolist(),
            "momenta": self._atoms.get_momenta().tolist(),
            "random": self._random.bit_generator.state,
        }
        write_json(path, state)

    def _take(self, path: Path) -> None:
        state = read_json(path)
        self._atoms.set_positions(state["positions"])
        self._atoms.set_momenta(state["momenta"])
        self._random.bit_generator.state = state["random"]

    def _frame(self, path: Path) -> Frame:
        self._take(path)
        return rounded(frame_of_atoms(self._atoms))
