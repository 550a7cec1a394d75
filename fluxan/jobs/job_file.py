"""Job files: many trajectories and models in one TOML file, checked before any work begins."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.errors import InputError, ModelError
from fluxan.potentials.load import adapter_options
from fluxan.potentials.parameters import check_keys, read_toml
from fluxan.trajectory import ReaderOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Keys of a job, and their types.
KEYS: dict[str, tuple[type, ...]] = {
    "trajectory": (str, list),
    "model": (str, dict, list),
    "name": (str,),
    "group": (str,),
    "groups": (str,),
    "velocities": (str,),
    "route": (str,),
    "device": (str,),
    "method": (str,),
    "components": (str,),
    "temperature": (int, float),
    "reader": (dict,),
    "trust_pickle": (bool,),
    "head": (str,),
    "modal": (str,),
    "variant": (str,),
    "extensions": (str,),
    "dtype": (str,),
}
#: Keys that are options of the model's adapter; a model given as a table holds its own options.
MODEL_KEYS = ("trust_pickle", "head", "modal", "variant", "extensions", "dtype")
OWN = ("trajectory", "name", "velocities")
READER = tuple(option.name for option in fields(ReaderOptions))


@dataclass(frozen=True, slots=True)
class Task:
    """One trajectory and one model.

    Attributes
    ----------
    name : str
        Name of the run, and of its flux file.
    trajectory : Path
        Path of the trajectory.
    model : str or None
        What `fluxan.load_model` takes; None for the model that the trajectory carries.
    adapter : dict
        Options of `fluxan.load_model`.
    group : str
        Name shared by independent runs of one state; empty for none.
    decompose : dict
        Further options of `fluxan.decompose`.
    green_kubo : dict
        Options of `fluxan.green_kubo`.
    """

    name: str
    trajectory: Path
    model: str | None
    group: str
    decompose: dict[str, Any] = field(default_factory=dict)
    green_kubo: dict[str, Any] = field(default_factory=dict)
    adapter: dict[str, Any] = field(default_factory=dict)

    @property
    def model_name(self) -> str:
        """Short name of the model."""
        return model_label(self.model, self.adapter)


@dataclass(frozen=True, slots=True)
class JobFile:
    """Content of a job file: tasks, and the folder for their outputs."""

    tasks: tuple[Task, ...]
    output: Path


def read_jobs(path: str | Path) -> JobFile:
    """Read a job file; relative paths in it are relative to its folder.

    Raises
    ------
    FileError
        It is missing, or not readable.
    InputError
        It is not TOML, a key is not known or has a wrong type, nothing matches a trajectory, or two runs would have
        the same name. The message names file and key.
    """
    path = Path(path)
    table = read_toml(path)
    try:
        return _JobFileReader(path.absolute().parent).file(table, default_output=path.stem)
    except (InputError, ModelError) as error:
        raise InputError(f"{path}: {error}") from None


class _JobFileReader:
    """Reads tables whose paths are relative to one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, table: Mapping[str, Any], *, default_output: str) -> JobFile:
        """The whole file."""
        check_keys(table, ("output", "defaults", "job"), "")
        output, jobs = table.get("output", f"{default_output}-flux"), table.get("job", [])
        if not isinstance(output, str) or not output:
            raise InputError(f"output is {output!r}; expected the name of a folder")
        if not isinstance(jobs, list) or not jobs or not all(isinstance(job, Mapping) for job in jobs):
            raise InputError("there is no job; begin each with [[job]]")
        defaults = table.get("defaults", {})
        self._check(defaults, "defaults.")
        for name in OWN:
            if name in defaults:
                raise InputError(f"defaults.{name} belongs to a job")
        tasks = [task for k, job in enumerate(jobs, 1) for task in self._tasks(job, defaults, f"job {k}: ")]
        _refuse_equal_names(tasks)
        return JobFile(tuple(tasks), self._folder / output)

    def _check(self, table: object, where: str) -> None:
        if not isinstance(table, Mapping):
            raise InputError(f"{where.rstrip('.')} is {table!r}; expected a table")
        check_keys(table, KEYS, where)
        for name, value in table.items():
            if not isinstance(value, KEYS[name]) or (isinstance(value, bool) and KEYS[name] != (bool,)):
                raise InputError(f"{where}{name} is {value!r}; expected {_kinds(KEYS[name])}")
            entries = (str, dict) if name == "model" else (str,)
            if isinstance(value, list) and not (value and all(isinstance(entry, entries) for entry in value)):
                raise InputError(f"{where}{name} is {value!r}; expected words")
        for entry in _listed(table.get("model", [])):
            if isinstance(entry, Mapping):
                self._check_model(entry, f"{where}model.")
        check_keys(table.get("reader", {}), READER, f"{where}reader.")

    def _check_model(self, entry: Mapping[str, Any], where: str) -> None:
        check_keys(entry, ("file", *MODEL_KEYS), where)
        if not isinstance(entry.get("file"), str):
            raise InputError(f"{where}file is {entry.get('file')!r}; expected a word, what model = would be")
        self._check({name: value for name, value in entry.items() if name != "file"}, where)

    def _tasks(self, job: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> list[Task]:
        self._check(job, where)
        if "trajectory" not in job:
            raise InputError(f"{where}trajectory is missing")
        settings = {**defaults, **job}
        reader = {**defaults.get("reader", {}), **job.get("reader", {})}
        trajectories = [path for pattern in _listed(job["trajectory"]) for path in self._found(pattern, where)]
        models = [self._model(m, job, defaults) for m in _listed(settings.get("model"))]
        for name in ("name", "velocities"):
            if name in job and len(trajectories) > 1:
                raise InputError(f"{where}{name} goes with one trajectory, {len(trajectories)} match")
        decompose: dict[str, Any] = {key: settings[key] for key in ("route", "device") if key in settings}
        decompose |= {"groups": self._groups(settings.get("groups", "element")), "reader": self._reader(reader)}
        if "velocities" in job:
            decompose["velocities"] = self._folder / job["velocities"]
        green_kubo: dict[str, Any] = {
            key: settings[key] for key in ("method", "components", "temperature") if key in settings
        }
        return [
            Task(
                self._name(job, trajectory, model_label(model, adapter)),
                trajectory,
                model,
                settings.get("group", ""),
                decompose,
                green_kubo,
                adapter,
            )
            for trajectory, (model, adapter) in product(trajectories, models)
        ]

    def _found(self, pattern: str, where: str) -> list[Path]:
        """Files that a path or pattern names, in order."""
        exact = self._folder / pattern
        anchor = Path(exact.anchor)
        found = [exact] if exact.is_file() else sorted(anchor.glob(str(exact.relative_to(anchor))))
        files = [path for path in found if path.is_file()]
        if not files:
            raise InputError(f"{where}trajectory {pattern!r} names no file in {self._folder}")
        return files

    def _model(
        self, given: Any, job: Mapping[str, Any], defaults: Mapping[str, Any]
    ) -> tuple[str | None, dict[str, Any]]:
        """A model with the path in it made absolute, and the options of its adapter.

        Defaults, and the permission to open pickles, apply to the models that have these options; other options of a
        job must apply to all its models, and options in a model's own table to that model.
        """
        own = given if isinstance(given, Mapping) else {}
        name = own.get("file", given)
        if name is None:
            return None, {}
        model = self._absolute(name)
        taken = adapter_options(model)
        lenient = {key: value for key, value in defaults.items() if key in MODEL_KEYS and key in taken}
        own_options = {key: job[key] for key in MODEL_KEYS if key in job and (key != "trust_pickle" or key in taken)}
        own_options |= {key: value for key, value in own.items() if key != "file"}
        unknown = [key for key in own_options if key not in taken]
        if unknown:
            known = [key for key in MODEL_KEYS if key in taken]
            raise InputError(f"model {name} takes no {', '.join(unknown)}; it takes {', '.join(known) or 'no options'}")
        options = {**lenient, **own_options}
        if "extensions" in options:
            options["extensions"] = str(self._folder / options["extensions"])
        return model, {key: value for key, value in options.items() if value is not False}

    def _absolute(self, given: str) -> str:
        prefix, colon, rest = given.partition(":")
        if (self._folder / given).is_file():
            return str(self._folder / given)
        return f"{prefix}:{self._folder / rest}" if colon and (self._folder / rest).is_file() else given

    def _groups(self, given: str) -> str | list[str]:
        if given == "element":
            return given
        try:
            return (self._folder / given).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError):
            raise InputError(f"groups is {given!r}: neither the word element nor a readable file of labels") from None

    def _reader(self, reader: Mapping[str, Any]) -> dict[str, Any]:
        topology = reader.get("topology")
        return dict(reader) | ({"topology": self._folder / topology} if isinstance(topology, str) else {})

    def _name(self, job: Mapping[str, Any], trajectory: Path, model: str) -> str:
        """Name of a run: the trajectory's path relative to the job file, and the model's short name."""
        parts = Path(os.path.relpath(trajectory, self._folder)).parts
        stem = "_".join(part for part in parts if part != "..").partition(".")[0] if parts[-1][0] != "." else parts[-1]
        return _plain(f"{job.get('name', stem)}.{model}")


def model_label(model: str | None, options: Mapping[str, Any]) -> str:
    """Short name of a model: the stem of its file's name, or a shipped name, and options such as its head."""
    if model is None:
        return "own"
    name = Path(model.rpartition(":")[2]).name.partition(".")[0] or _plain(model)
    return "-".join([name, *(_plain(options[key]) for key in ("head", "modal", "variant", "dtype") if key in options)])


def _plain(name: str) -> str:
    """A name that file systems accept."""
    return re.sub(r"[^\w.+=-]", "_", name)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _kinds(kinds: tuple[type, ...]) -> str:
    words = {str: "a word", list: "a list of words", dict: "a table", int: "a number", bool: "true or false"}
    return " or ".join(words[kind] for kind in kinds if kind in words)


def _refuse_equal_names(tasks: Sequence[Task]) -> None:
    seen: dict[str, Task] = {}
    for task in tasks:
        other = seen.setdefault(task.name, task)
        if other is not task:
            raise InputError(
                f"{task.trajectory} with {task.model} and {other.trajectory} with {other.model} would both be called "
                f"{task.name}; give a job a name, or a model's file another"
            )
