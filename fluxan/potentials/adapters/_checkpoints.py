"""Functions that all adapters use: recognise the kind of a checkpoint file, and open it if that is safe."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fluxan.errors import DependencyError, FileError, InputError, ModelError
from fluxan.potentials.base import Potential

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Kinds of torch archives, each with a file name that identifies it; the first match is taken.
KINDS = {
    "torchscript": "constants.pkl",
    "package": "extern_modules",
    "aotinductor": "aotinductor",
    "pickle": "data.pkl",
}
#: First byte of a pickle; torch before 1.6 wrote pickles without an archive.
PICKLE = b"\x80"


class ForeignPotential(Potential):
    """A model of another program.

    Attributes
    ----------
    elements : tuple of int
        Atomic numbers the model knows.
    file_sha256 : str
        Hash of the file it was read from, empty for a model in memory.
    """

    elements: tuple[int, ...]
    file_sha256: str = ""

    def read_from(self, path: str | Path) -> None:
        """Ready the model for evaluation, and keep its file's hash: there is more in a script than its weights."""
        self.file_sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        self.eval().requires_grad_(requires_grad=False)


def file_kind(path: str | Path) -> str:
    """Kind of a checkpoint by its content: a key of `KINDS`, or "unknown".

    Raises
    ------
    FileError
        The file is missing or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"no model file {path}" if not path.exists() else f"{path} is not a file")
    try:
        with path.open("rb") as file:
            begin = file.read(1)
        if not zipfile.is_zipfile(path):
            return "pickle" if begin == PICKLE else "unknown"
        with zipfile.ZipFile(path) as archive:
            parts = {part for name in archive.namelist() for part in name.split("/")}
    except (OSError, zipfile.BadZipFile) as error:
        raise FileError(f"cannot read model file {path}: {error}") from error
    return next((kind for kind, entry in KINDS.items() if entry in parts), "unknown")


def refuse_untrusted(path: str | Path, *, trusted: bool, instead: str) -> None:
    """Raise `ModelError` for a pickled file that the user has not declared trusted; `instead` names a safer way."""
    if not trusted:
        raise ModelError(
            f"{path} is a pickled model, and unpickling runs whatever code the file holds: if you trust where it is "
            f"from, say trust_pickle=True; {instead}"
        )


def trusted_call(path: str | Path, open_it: Callable[[], Any]) -> Any:
    """Open a trusted pickled file with a function of another program.

    Raises
    ------
    FileError
        The function raised an exception of any kind.
    """
    try:
        return open_it()
    except Exception as error:  # unpickling runs code of the file, which may raise anything
        raise FileError(f"cannot open pickled model {path}: {type(error).__name__}: {first_line(error)}") from error


def open_script(path: str | Path, device: str, **options: Any) -> torch.jit.ScriptModule:
    """Open a TorchScript file.

    No Python objects are unpickled: torch reads the file with an unpickler of its own that knows only tensors and
    TorchScript classes. The file is nevertheless a program, run by TorchScript's interpreter, whose operators can read
    and write files; torch advises treating it as such.

    Raises
    ------
    FileError
        The file cannot be opened.
    """
    try:
        return torch.jit.load(str(path), map_location=device, **options)
    except (RuntimeError, ValueError) as error:
        raise FileError(f"cannot open TorchScript model {path}: {first_line(error)}") from error


def real_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """Torch dtype of a precision given by name or as a dtype; None, the model's own precision, stays None.

    Raises
    ------
    InputError
        The precision is neither float32 nor float64.
    """
    if dtype is None:
        return None
    known = {"float32": torch.float32, "float64": torch.float64}
    name = str(dtype).removeprefix("torch.")
    if name not in known:
        raise InputError(f"dtype={dtype!r} is not known; give float32 or float64")
    return known[name]


def only_one(models: Iterable[torch.nn.Module], program: str) -> torch.nn.Module:
    """Return the single model of a calculator; a committee of models has no single flux and raises `ModelError`."""
    first, *others = models
    if others:
        raise ModelError(f"the {program} calculator holds {1 + len(others)} models; give one of them")
    return first


def missing(package: str, extra: str) -> DependencyError:
    """Error about a package that is not installed, with the extra of fluxan that installs it."""
    return DependencyError(f"this model needs the package {package}: pip install 'fluxan[{extra}]'")


def first_line(error: Exception) -> str:
    """First line of an error's message that is not blank."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
