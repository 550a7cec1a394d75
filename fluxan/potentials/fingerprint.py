"""What identifies a model: a hash over everything its energies can depend on."""

from __future__ import annotations

import hashlib
import numbers
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def model_sha256(model: torch.nn.Module) -> str:
    """SHA-256 of a model's classes, settings, parameters and buffers, as hexadecimal digits.

    Settings are the numbers, words and tuples of them kept as attributes of the module and its children; so two
    objects of one class with the same weights and another cutoff differ.
    """
    digest = hashlib.sha256()
    for entry in _entries(model):
        digest.update(entry)
    return digest.hexdigest()


def _entries(model: torch.nn.Module) -> Iterator[bytes]:
    for name, module in model.named_modules():
        kind = getattr(module, "original_name", type(module).__qualname__)
        yield f"{name}:{kind}".encode()
        for key, value in sorted(vars(module).items()):
            if not key.startswith("_") and key != "training" and _is_setting(value):
                yield f"{key}={value!r}".encode()
    for key, tensor in sorted(model.state_dict().items()):
        yield f"{key}:{tensor.dtype}:{tuple(tensor.shape)}".encode()
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _is_setting(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_setting(v) for v in value)
    return value is None or isinstance(value, (str, bool, numbers.Number))
