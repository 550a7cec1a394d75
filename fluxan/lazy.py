"""Lazy import of a package's modules as its attributes (PEP 562)."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def submodule(package: str, name: str) -> ModuleType:
    """Import a module of a package; to be called from the package's ``__getattr__``.

    Parameters
    ----------
    package : str
        Full name of the package.
    name : str
        Attribute of the package.

    Returns
    -------
    module : ModuleType
        The module.

    Raises
    ------
    AttributeError
        The package has no such module.
    """
    full = f"{package}.{name}"
    if name.startswith("_") or find_spec(full) is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return import_module(full)
