"""Checkpoints of a fit: every tensor and number of its state, in a safetensors file that is replaced as a whole.

Nested dictionaries and lists, such as the state of a torch optimizer, become tensors named by their path and a JSON
text in the metadata. Nothing is pickled; numbers come back bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from fluxan.errors import FileError
from fluxan.replacement import replacing

if TYPE_CHECKING:
    from pathlib import Path

#: Key that marks a tensor in the JSON text; its value is the tensor's name.
_TENSOR = "__tensor__"
#: Key that marks a mapping whose keys are not strings, as a list of pairs.
_PAIRS = "__pairs__"


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state of tensors, numbers, strings, lists and mappings.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_pack(state, "state", tensors))
    with replacing(path, failures=(SafetensorError,)) as unfinished:
        save_file(tensors, unfinished, metadata={"state": text})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote.

    Raises
    ------
    FileError
        The file is missing, damaged, or no checkpoint.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("state", "")
        return _unpack(json.loads(text), load_file(path))
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise FileError(f"{path} cannot be read as a checkpoint: {error}") from error


def _pack(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON form of a value, whose tensors are put aside under names."""
    if isinstance(value, torch.Tensor):
        # A copy: tensors that share memory cannot be stored.
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        pairs = [(key, _pack(entry, f"{name}.{key}", tensors)) for key, entry in value.items()]
        return dict(pairs) if all(isinstance(key, str) for key, _ in pairs) else {_PAIRS: pairs}
    if isinstance(value, list | tuple):
        return [_pack(entry, f"{name}.{k}", tensors) for k, entry in enumerate(value)]
    return value


def _unpack(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(entry, tensors) for entry in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    if _PAIRS in value:
        return {key: _unpack(entry, tensors) for key, entry in value[_PAIRS]}
    return {key: _unpack(entry, tensors) for key, entry in value.items()}
