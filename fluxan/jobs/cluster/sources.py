"""Trajectory and model of a job, in a form that the processes of a cluster can open."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.errors import ClusterError, FluxanError, ModelError
from fluxan.potentials.fingerprint import model_sha256
from fluxan.potentials.load import load_model, origin, parse_model
from fluxan.trajectory import ReaderOptions, Trajectory, as_trajectory
from fluxan.trajectory.memory import WithVelocities

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fluxan.potentials.base import Potential


@dataclass(frozen=True, slots=True)
class TrajectorySource:
    """A file that every worker opens itself.

    Attributes
    ----------
    path : str
        Absolute path of the file.
    reader : mapping
        Options of `fluxan.open_trajectory`.
    velocities : str or None
        Absolute path of a .npy file, or None.
    sha256 : str
        SHA-256 of the file's first MiB, in the submitting process.
    size : int
        Size of the file in bytes, in the submitting process.
    """

    path: str
    reader: Mapping[str, object]
    velocities: str | None
    sha256: str
    size: int

    @classmethod
    def of(
        cls, trajectory: Trajectory, given: object, velocities: object, reader: Mapping[str, object]
    ) -> TrajectorySource | None:
        """Source of a trajectory; None if its frames must be sent, because there is no file, or a compressed one."""
        if trajectory.path is None or not trajectory.seeks:
            return None
        if isinstance(given, Trajectory):
            if velocities is not None or not _is_reader(given):
                return None
            reader = {option.name: getattr(given.options, option.name) for option in fields(ReaderOptions)}
        elif not isinstance(velocities, str | Path | None):
            return None
        if isinstance(reader.get("topology"), str | Path):
            reader = {**reader, "topology": _absolute(reader["topology"])}
        place = None if velocities is None else _absolute(velocities)
        size = trajectory.path.stat().st_size
        return cls(_absolute(trajectory.path), dict(reader), place, trajectory.identity()["sha256"], size)

    def open(self) -> Trajectory:
        """Open the trajectory in this process.

        Raises
        ------
        ClusterError
            The file is missing on this machine, or is another one.
        """
        try:
            trajectory = as_trajectory(self.path, velocities=self.velocities, **self.reader)
        except (FluxanError, OSError) as error:
            raise ClusterError(
                f"a worker on {socket.gethostname()} cannot open the trajectory ({error}); workers read it themselves: "
                "put it where all of them find it under the same path"
            ) from error
        size = Path(self.path).stat().st_size
        # The beginning of a growing file may change: some headers count frames.
        if size < self.size or (size == self.size and trajectory.identity()["sha256"] != self.sha256):
            raise ClusterError(
                f"a worker on {socket.gethostname()} sees another file under {self.path}; put the trajectory where all "
                "workers see it under the same path"
            )
        return trajectory


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model in the smallest form from which it can be restored: its description, its file, or its pickle.

    A model that was loaded with options through an adapter, and cannot be pickled, is loaded by every worker in the
    same way. Pickles are only passed between processes of one user, who runs the same code in all of them; none is
    stored in a file.
    """

    sha256: str
    text: str | None = None
    path: str | None = None
    pickled: bytes | None = None
    options: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Potential, given: object, dumps: Callable[[object], bytes]) -> ModelSource:
        """Choose the smallest form of a model.

        Raises
        ------
        ModelError
            The model was not loaded from a file, and cannot be pickled.
        """
        sha256 = model_sha256(model)
        text = getattr(model, "describe", lambda: None)()
        if text is not None and model_sha256(parse_model(text, source="the description")) == sha256:
            return cls(sha256, text=text)
        if isinstance(given, str | Path):
            return cls(sha256, path=_absolute_model(str(given)))
        try:
            return cls(sha256, pickled=dumps(model))
        except Exception as error:  # the model's own classes may raise anything
            came = origin(model)
            if came is not None:
                # Each worker moves the model to its own device.
                options = {name: value for name, value in came[1].items() if name != "device"}
                return cls(sha256, path=_absolute_model(came[0]), options=options)
            raise ModelError(
                f"{type(model).__name__} cannot be sent to workers ({type(error).__name__}: {error}); "
                "give the file it is loaded from instead"
            ) from error

    def load(self, loads: Callable[[bytes], Any]) -> Potential:
        """Load the model in this process.

        Raises
        ------
        ClusterError
            Its file is missing on this machine, or is another one.
        """
        if self.text is not None:
            model = parse_model(self.text, source="the description")
        elif self.path is not None:
            try:
                model = load_model(self.path, **self.options)
            except (FluxanError, OSError) as error:
                raise ClusterError(f"a worker on {socket.gethostname()} cannot load the model: {error}") from error
        else:
            model = loads(self.pickled or b"")
        if model_sha256(model) != self.sha256:
            raise ClusterError(
                f"a worker on {socket.gethostname()} loads another model than the submitting process; "
                "give both the same file and the same versions of Python and of the packages that the model needs"
            )
        return model


def _is_reader(trajectory: Trajectory) -> bool:
    """Whether `fluxan.open_trajectory` can open this source again."""
    kind = type(trajectory)
    return kind.__module__.startswith("fluxan.trajectory.") and kind is not WithVelocities


def _absolute(path: object) -> str:
    return str(Path(str(path)).absolute())


def _absolute_model(given: str) -> str:
    """What `fluxan.load_model` takes, with the path in it made absolute."""
    if Path(given).exists():
        return _absolute(given)
    prefix, colon, rest = given.partition(":")
    return f"{prefix}:{_absolute(rest)}" if colon and Path(rest).exists() else given
