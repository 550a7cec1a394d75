"""Model files of potentials that fluxan trains: tensors in a safetensors file, settings as JSON in its metadata.

The metadata of such a file are

    kind             behler-parrinello
    hyperparameters  {"functions": {"elements": [47, 53], "cutoff": 6.0, ...}, "hidden": [20, 20], ...}
    units            eV, Å
    fluxan_version   0.1.0
    training         {"epochs": 200, ...}

where the last is a record of the training, if the writer gave one.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fluxan.errors import FileError, InputError, ModelError, OutputError
from fluxan.replacement import replacing
from fluxan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from fluxan.potentials.base import Potential

#: Module and class of each kind; the class is called with the hyperparameters.
TRAINED_KINDS = {
    "equivariant": ("equivariant", "EquivariantNetwork"),
    "behler-parrinello": ("behler_parrinello", "BehlerParrinello"),
    "linear": ("linear_potential", "LinearPotential"),
}
#: Units of all models.
UNITS = "eV, Å"


class ModelContent(NamedTuple):
    """What a model file holds.

    Attributes
    ----------
    kind : str
        A key of `TRAINED_KINDS`.
    metadata : dict of str to str
        All metadata.
    tensors : dict of str to tensor
        The state of the model.
    """

    kind: str
    metadata: dict[str, str]
    tensors: dict[str, torch.Tensor]


def write_model(
    path: str | Path,
    kind: str,
    hyperparameters: Mapping[str, object],
    state_dict: Mapping[str, torch.Tensor],
    training: Mapping[str, object] | None = None,
) -> None:
    """Write a model to a safetensors file, replacing an older one only when the new one is complete.

    Parameters
    ----------
    path : str or Path
        Ends in ``.safetensors``.
    kind : str
        A key of `TRAINED_KINDS`.
    hyperparameters : mapping
        Arguments of the class.
    state_dict : mapping of str to tensor
        Parameters and buffers.
    training : mapping, optional
        A record of the training that JSON can hold.

    Raises
    ------
    OutputError
        The file cannot be written, or has another suffix.
    InputError
        JSON cannot hold the record of the training.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise OutputError(f"{path} is no name for a model file; give one that ends in .safetensors")
    metadata = {
        "kind": kind,
        "hyperparameters": json.dumps(hyperparameters),
        "units": UNITS,
        "fluxan_version": __version__,
    }
    if training is not None:
        try:
            metadata["training"] = json.dumps(training, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"the record of the training cannot be written as JSON: {error}") from None
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    with replacing(path, failures=(SafetensorError,)) as unfinished:
        unfinished.write_bytes(_in_order(save(tensors, metadata=metadata)))


def _in_order(content: bytes) -> bytes:
    """The same safetensors file with sorted metadata, which that library writes in random order.

    Such a file begins with the length of its header, 8 bytes, and the header, a JSON text padded with spaces.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    text = header.encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def load_trained(path: str | Path, *, kind: str | None = None) -> Potential:
    """Read a potential that fluxan trained.

    Parameters
    ----------
    path : str or Path
        A safetensors file.
    kind : str, optional
        The only kind that is accepted.

    Raises
    ------
    FileError
        The file is missing or is not a safetensors file.
    ModelError
        It holds no model of a known kind, or hyperparameters and weights do not fit.
    """
    content = read_content(path, (kind,) if kind else tuple(TRAINED_KINDS))
    module, name = TRAINED_KINDS[content.kind]
    potential = getattr(import_module(f"fluxan.potentials.{module}"), name)
    try:
        model = potential(**json.loads(content.metadata["hyperparameters"]))
        real = [tensor.dtype for tensor in content.tensors.values() if tensor.is_floating_point()]
        model.to(real[0])
        model.load_state_dict(content.tensors)
    except (ModelError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise ModelError(f"{path}: hyperparameters and weights do not fit: {reason}") from error
    return model


def training_record(path: str | Path) -> dict[str, Any]:
    """Record of the training that a model file holds; empty if it holds none.

    Raises
    ------
    FileError
        The file is missing or is not a safetensors file.
    ModelError
        It holds no model of a known kind, or its record cannot be read.
    """
    text = read_content(path, tuple(TRAINED_KINDS)).metadata.get("training", "{}")
    try:
        record = json.loads(text)
    except ValueError as error:
        raise ModelError(f"{path}: its record of the training is not JSON: {error}") from None
    if not isinstance(record, dict):
        raise ModelError(f"{path}: its record of the training is {record!r}; expected a JSON object")
    return record


def read_content(path: str | Path, kinds: tuple[str, ...]) -> ModelContent:
    """Read a model file and check its kind, its units, and that its numbers are finite.

    Raises
    ------
    FileError
        The file is missing or is not a safetensors file.
    ModelError
        It holds no model of one of these kinds, other units, or numbers that are not finite.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FileError(f"{path} cannot be read as a safetensors file: {error}") from error
    kind = metadata.get("kind")
    if kind not in kinds:
        raise ModelError(
            f"{path} holds no model of fluxan: its metadata has kind={kind!r}; expected {' or '.join(kinds)}"
        )
    if metadata.get("units", UNITS) != UNITS:
        raise ModelError(f"{path} has the units {metadata['units']}; expected {UNITS}")
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ModelError(f"{path}: {name} holds numbers that are not finite")
    return ModelContent(kind, metadata, tensors)
