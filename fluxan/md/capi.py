"""fluxan's kernels as C functions, for MD codes in C, C++ or Fortran that embed Python."""

from __future__ import annotations

from pathlib import Path

from fluxan.errors import InputError


def address(name: str) -> int:
    """Address of a C function that runs a kernel of fluxan.

    Parameters
    ----------
    name : {"pair_flux", "atomic_virial"}
        The potential heat flux by owner and carrier, or the nine-component virial of every atom, from pair forces of a
        local potential. ``fluxan.h`` (`include`) has the prototypes, with units, types and layout of every argument.

    Returns
    -------
    int
        Address, to be cast to ``fluxan_pair_flux`` or ``fluxan_atomic_virial``. It is valid while the interpreter runs;
        the function may be called from any thread, with or without the interpreter's lock.

    Raises
    ------
    InputError
        There is no such function.
    """
    from fluxan.kernels import c_functions

    if name not in c_functions.SIGNATURES:
        raise InputError(f"there is no C function {name!r}; there are {', '.join(c_functions.SIGNATURES)}")
    return c_functions.c_function(name).address


def include() -> str:
    """Folder of ``fluxan.h``, for a compiler's ``-I``."""
    return str(Path(__file__).parent)
