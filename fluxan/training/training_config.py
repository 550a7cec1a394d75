"""The TOML file of a training: data, model, loss, fit and output, checked before any work begins.

[data]
files = ["agi.xyz"]                    # extended XYZ, ASE .traj or .db; paths begin where this file lies
units = { energy = "eV", forces = "eV/A", stress = "eV/A^3" }
validation = 0.2                       # share of the frames, or files

[model]
kind = "behler-parrinello"             # or linear, equivariant
cutoff = 8.0                           # Å
triplet_cutoff = 5.0

[loss]
energy = 100.0
forces = 1.0
virial = 10.0
flux = 1e-3                            # p_Q; 0 by default

[flux]
temperature = 500.0                    # K

[fit]
epochs = 200

[mapping]
structures = ["strained.xyz"]          # invariant points, whose error is monitored

[output]
folder = "agi-model"
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.errors import FluxanError, InputError
from fluxan.potentials.parameters import check_keys, read_toml
from fluxan.training.fit_settings import FitSettings
from fluxan.training.invariant_points import TOLERANCE
from fluxan.training.loss import TERMS, FluxTerm, LossWeights
from fluxan.training.setting_tables import read_paths, read_record, read_table, read_text, require_count
from fluxan.trajectory.labelled_files import LabelKeys, LabelUnits

if TYPE_CHECKING:
    from collections.abc import Mapping

SECTIONS = ("data", "model", "loss", "flux", "fit", "scan", "mapping", "output")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Section ``[data]``.

    Attributes
    ----------
    files : tuple of Path
        Files of labelled frames.
    units : LabelUnits
        Units of the labels.
    keys : LabelKeys
        Names of the labels.
    stress : str or None
        Stated convention of the stress; by default it is detected.
    validation : float or tuple of Path
        Share of the frames that are held back, or files of frames to validate with.
    """

    files: tuple[Path, ...]
    units: LabelUnits = field(default_factory=LabelUnits)
    keys: LabelKeys = field(default_factory=LabelKeys)
    stress: str | None = None
    validation: float | tuple[Path, ...] = 0.1


@dataclass(frozen=True, slots=True)
class ScanConfig:
    """Section ``[scan]``: how the strength of the flux term is scanned.

    Attributes
    ----------
    strengths : int
        Number of strengths at which networks are trained.
    decades : float
        Decades that they span, around the estimate of a linear model.
    seeds : int
        Number of initial weights at each strength.
    epochs : int
        Epochs of a fit with the term, which starts from one without.
    processes : int
        Fits that run at the same time.
    """

    strengths: int = 5
    decades: float = 4.0
    seeds: int = 3
    epochs: int = 30
    processes: int = 2

    def __post_init__(self) -> None:
        """Check every setting."""
        for name, least in (("strengths", 3), ("seeds", 2), ("epochs", 1), ("processes", 1)):
            require_count(getattr(self, name), f"scan.{name}", least)
        if isinstance(self.decades, bool) or not isinstance(self.decades, (int, float)) or not 0 < self.decades < 100:
            raise InputError(f"scan.decades is {self.decades!r}; expected a positive number")


@dataclass(frozen=True, slots=True)
class MonitorConfig:
    """Section ``[mapping]``: structures at which atomic energies are monitored.

    Attributes
    ----------
    structures : tuple of Path
        Files of structures with energies, in the units of ``[data]``; none are monitored by default.
    tolerance : float
        Of their symmetry, Å.
    """

    structures: tuple[Path, ...] = ()
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        """Check the tolerance."""
        if isinstance(self.tolerance, bool) or not isinstance(self.tolerance, (int, float)) or not self.tolerance > 0:
            raise InputError(f"mapping.tolerance is {self.tolerance!r}; expected a positive number of Å")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Content of a training file.

    Attributes
    ----------
    data : DataConfig
        Frames.
    model : dict
        Kind and settings of the model, offsets among them.
    weights : LossWeights
        Weights of the loss terms.
    fit : FitSettings
        Settings of the optimizer.
    scan : ScanConfig
        Settings of the scan of strengths.
    folder : Path
        For the output.
    mapping : MonitorConfig
        Structures at which atomic energies are monitored.
    """

    data: DataConfig
    model: dict[str, Any]
    weights: LossWeights
    fit: FitSettings
    scan: ScanConfig
    folder: Path
    mapping: MonitorConfig = field(default_factory=MonitorConfig)


def read_training_config(path: str | Path) -> TrainingConfig:
    """Read a training file.

    Parameters
    ----------
    path : str or Path
        The TOML file; relative paths in it begin where it lies.

    Raises
    ------
    FileError
        It is missing, or not readable.
    InputError
        It is not TOML, or one of its keys is not known or not usable; the message names file and key.
    """
    path = Path(path)
    table = read_toml(path)
    try:
        return _config(table, path.absolute().parent, path.stem)
    except FluxanError as error:
        raise InputError(f"{path}: {error}") from None


def _config(table: Mapping[str, Any], folder: Path, stem: str) -> TrainingConfig:
    check_keys(table, SECTIONS, "")
    sections = {name: read_table(table.get(name, {}), name) for name in SECTIONS}
    for name in ("data", "model"):
        if not sections[name]:
            raise InputError(f"the section [{name}] is missing")
    output = sections["output"]
    check_keys(output, ("folder",), "output.")
    return TrainingConfig(
        data=_data(sections["data"], folder),
        model=dict(sections["model"]),
        weights=read_weights(sections["loss"], sections["flux"]),
        fit=read_record(FitSettings, sections["fit"], "fit"),
        scan=read_record(ScanConfig, sections["scan"], "scan"),
        folder=folder / read_text(output.get("folder", f"{stem}-model"), "output.folder"),
        mapping=_mapping(sections["mapping"], folder),
    )


def _mapping(table: Mapping[str, Any], folder: Path) -> MonitorConfig:
    values = dict(table)
    if "structures" in values:
        values["structures"] = read_paths(values["structures"], folder, "mapping.structures")
    return read_record(MonitorConfig, values, "mapping")


def _data(table: Mapping[str, Any], folder: Path) -> DataConfig:
    check_keys(table, [f.name for f in fields(DataConfig)], "data.")
    validation = table.get("validation", 0.1)
    if isinstance(validation, bool) or not isinstance(validation, (int, float, list, str)):
        raise InputError(f"data.validation is {validation!r}; expected a share of the frames, or files")
    return DataConfig(
        files=read_paths(table.get("files"), folder, "data.files"),
        units=read_record(LabelUnits, table.get("units", {}), "data.units"),
        keys=read_record(LabelKeys, table.get("keys", {}), "data.keys"),
        stress=None if "stress" not in table else read_text(table["stress"], "data.stress"),
        validation=float(validation)
        if isinstance(validation, (int, float))
        else read_paths(validation, folder, "data.validation"),
    )


def read_weights(loss: Mapping[str, Any], flux: Mapping[str, Any]) -> LossWeights:
    """Weights of the sections ``[loss]`` and ``[flux]``."""
    check_keys(loss, TERMS, "loss.")
    settings = dict(flux)
    if isinstance(settings.get("band"), list):
        settings["band"] = tuple(settings["band"])
    term = read_record(FluxTerm, settings, "flux") if settings else None
    return LossWeights(**loss, term=term)
