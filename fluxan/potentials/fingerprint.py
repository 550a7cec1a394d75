"""Identifies a model by a hash over everything that its energies can depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType

import numpy as np
import torch

#: Attributes of every torch module, not hashed: hooks; and parameters and buffers, which are taken from `state_dict`.
_OF_TORCH = frozenset(vars(torch.nn.Module()))


def model_sha256(model: torch.nn.Module) -> str:
    """SHA-256 of a model's classes, their code, settings, parameters and buffers, as hexadecimal digits.

    Settings are all attributes of the module, its children and their classes that are numbers, strings, arrays or
    collections of them. So a model with another cutoff, another table or an edited `forward` has another hash. The code
    of a method includes its docstring: rewording that changes the hash.
    """
    digest = hashlib.sha256()
    for entry in _entries(model):
        digest.update(entry)
        digest.update(b"\0")
    return digest.hexdigest()


def _entries(model: torch.nn.Module) -> Iterator[bytes]:
    for name, module in model.named_modules():
        yield f"{name}:{getattr(module, 'original_name', type(module).__qualname__)}".encode()
        for owner in (*_own_classes(module), module):
            for key, value in sorted(vars(owner).items()):
                if key not in _OF_TORCH and not key.startswith("__"):
                    yield key.encode()
                    yield from _content(value)
    for key, tensor in sorted(model.state_dict().items()):
        yield key.encode()
        yield from _content(tensor)


def _own_classes(module: torch.nn.Module) -> list[type]:
    """Classes of a module that are not defined by torch."""
    return [
        kind for kind in type(module).__mro__ if kind is not object and kind.__module__.partition(".")[0] != "torch"
    ]


def _content(value: object) -> Iterator[bytes]:
    """Bytes that distinguish a value from others; none if it is neither data nor code."""
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, np.ndarray):
        yield f"{value.dtype}{value.shape}".encode() + value.tobytes()
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield repr(key).encode()
            yield from _content(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _content(entry)
    elif isinstance(value, FunctionType):
        yield from _code(value.__code__)
    elif value is None or isinstance(value, (str, bytes, bool, int, float, complex, np.generic, frozenset)):
        yield repr(sorted(value, key=repr) if isinstance(value, frozenset) else value).encode()


def _code(code: CodeType) -> Iterator[bytes]:
    """Bytes of compiled code: instructions, names and constants, without line numbers."""
    yield code.co_code + repr(code.co_names).encode()
    for constant in code.co_consts:
        yield from _code(constant) if isinstance(constant, CodeType) else _content(constant)
