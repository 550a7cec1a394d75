"""Restart files of a run: everything that the rest of the run depends on, in one file that is replaced atomically."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import FileError
from fluxan.replacement import replacing

if TYPE_CHECKING:
    from fluxan.correlation import Correlator

SCHEMA = "fluxan restart 1"
#: Prefix of the names of arrays that only some kinds of run have.
_FURTHER = "further_"


def restart_beside(flux: Path) -> Path:
    """Path of the restart file that belongs to a flux file: ``flux.restart.npz`` to ``flux.nc``."""
    return flux.with_suffix(".restart.npz")


@dataclass
class Restart:
    """State of a run at one step.

    Attributes
    ----------
    phase : str
        "thermalise" or "produce".
    step : int
        Steps done in this phase.
    n_frames : int
        Number of frames in the flux file.
    positions, momenta : (n_atoms, 3) array
        Positions and momenta, in ASE's units.
    random : dict
        State of the thermostat's random numbers.
    correlator : Correlator
        The correlator so far.
    settings : dict
        Settings that must not change when the run is continued, by name.
    further : dict of str to array
        Further state of a kind of run, by name.
    """

    phase: str
    step: int
    n_frames: int
    positions: np.ndarray
    momenta: np.ndarray
    random: dict[str, Any]
    correlator: Correlator
    settings: dict[str, object]
    further: dict[str, np.ndarray] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file; an older one is kept until this one is complete.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        facts = {"schema": SCHEMA, "phase": self.phase, "step": self.step, "n_frames": self.n_frames}
        facts |= {"random": self.random, "settings": self.settings}
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                facts=np.array(json.dumps(facts)),
                positions=self.positions,
                momenta=self.momenta,
                correlator=np.frombuffer(_packed(self.correlator), dtype=np.uint8),
                **{_FURTHER + name: values for name, values in self.further.items()},
            )
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def load(cls, path: Path) -> Restart:
        """Read what `save` wrote.

        Raises
        ------
        FileError
            Missing, foreign, of another version, or damaged.
        """
        try:
            # Read completely, so that the zip file's checksums are verified.
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("facts", "positions", "momenta", "correlator")}
                further = {name.removeprefix(_FURTHER): file[name] for name in file.files if name.startswith(_FURTHER)}
            facts = json.loads(str(arrays.pop("facts")))
            if facts.pop("schema") != SCHEMA:
                facts = {}  # a file of another version lacks entries
            packed = arrays.pop("correlator").tobytes()
            return cls(**facts, **arrays, correlator=_unpacked(packed), further=further)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise FileError(f"{path} is no restart file that can be read: {error}") from error


def _packed(correlator: Correlator) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.nc"
        correlator.save(path)
        return path.read_bytes()


def _unpacked(content: bytes) -> Correlator:
    from fluxan.correlation import Correlator

    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.nc"
        path.write_bytes(content)
        return Correlator.load(path)
