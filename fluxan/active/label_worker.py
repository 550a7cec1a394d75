"""A process that evaluates the reference: makes the calculator once, then answers one frame after another.

It is a module of its own, so that a worker imports no more than its reference needs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from fluxan.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection


def load_entry(entry: str, folder: str, where: str) -> Callable[..., Any]:
    """Callable of an entry point ``module:name``.

    Parameters
    ----------
    entry : str
        Module and name, joined by a colon.
    folder : str
        Is searched for the module first.
    where : str
        Name of the setting, for messages.

    Raises
    ------
    InputError
        The module cannot be imported, or has no such name.
    """
    module, colon, name = entry.partition(":")
    if not (module and colon and name):
        raise InputError(f"{where} is {entry!r}; expected module:name")
    sys.path.insert(0, folder)
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # a user's module may raise anything
        raise InputError(f"{where}: {module} cannot be imported ({type(error).__name__}: {error})") from error
    finally:
        sys.path.remove(folder)
    if not callable(found):
        raise InputError(f"{where}: {module} has no function {name!r}")
    return found


def make_calculator(reference: dict[str, Any]) -> Any:
    """ASE calculator of a reference: ``{"model": …}``, or ``{"calculator": "module:name", "folder": …}``."""
    if reference.get("model"):
        from fluxan.md.ase.calculator import FluxanCalculator

        return FluxanCalculator(reference["model"])
    return load_entry(reference["calculator"], reference["folder"], "reference.calculator")()


def evaluate(calculator: Any, atoms: Any, *, stress: bool) -> dict[str, Any]:
    """Energy, eV, forces, eV/Å, and stress, eV/Å³, of atoms, as JSON can hold them."""
    from ase.stress import voigt_6_to_full_3x3_stress

    if hasattr(calculator, "forget"):
        calculator.forget()  # fluxan's own: the label then depends on this frame alone, to the last bit
    atoms.calc = calculator
    found: dict[str, Any] = {"energy": float(atoms.get_potential_energy())}
    found["forces"] = np.asarray(atoms.get_forces(), dtype=np.float64).tolist()
    if stress:
        found["stress"] = voigt_6_to_full_3x3_stress(atoms.get_stress()).tolist()
    return found


def serve(connection: Connection, reference: dict[str, Any]) -> None:
    """Answer frames until the other side closes the connection; a failure is an answer too."""
    try:
        calculator = make_calculator(reference)
    except Exception as error:
        connection.send(("refused", f"{type(error).__name__}: {error}"))
        return
    connection.send(("ready", ""))
    while True:
        try:
            number, atoms = connection.recv()
        except EOFError:
            return
        try:
            connection.send((number, evaluate(calculator, atoms, stress=reference["stress"])))
        except Exception as error:
            connection.send((number, {"failure": f"{type(error).__name__}: {error}"}))
            # What failed once may leave a calculator in a state of its own.
            calculator = make_calculator(reference)
