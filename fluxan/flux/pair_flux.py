"""`pair_flux`: the flux by owner and carrier from pair forces that another MD program has computed."""

from __future__ import annotations

import operator
from contextlib import nullcontext
from typing import Any

import numpy as np

from fluxan.errors import DependencyError, InputError

#: Arguments that hold indices.
INDICES = ("senders", "receivers", "groups")
#: Order of the arguments of the kernels.
KERNEL_ORDER = ("receivers", "senders", "r_ij", "g_ij", "velocities", "groups")


def pair_flux(
    *, senders: Any, receivers: Any, r_ij: Any, g_ij: Any, velocities: Any, groups: Any, n_groups: int
) -> np.ndarray:
    """Potential heat flux of a local model by owner and carrier.

    ``J[α, β] = −Σ r_ij (g_ij · v_j)`` over the edges whose receiver *i* is in group α and whose sender *j* is in β:
    the many-body form of Fan et al., Phys. Rev. B 92, 094301 (2015), resolved by owner. It holds for energies U_i that
    depend only on the edges of *i*.

    Arrays are NumPy arrays or anything that NumPy converts, or tensors on the CPU; or all of them are arrays on one
    CUDA device (torch, CuPy, Numba), which are used in place.

    Parameters
    ----------
    senders, receivers : (n_edges,) int
        Carrier *j* and owner *i* of each directed edge.
    r_ij : (n_edges, 3) float
        r_j − r_i, image included, Å.
    g_ij : (n_edges, 3) float
        ∂U_i/∂r_ij, eV/Å.
    velocities : (n_atoms, 3) float
        Velocities, Å/ps.
    groups : (n_atoms,) int
        Group of each atom, 0 to ``n_groups − 1``.
    n_groups : int
        Number of groups.

    Returns
    -------
    (n_groups, n_groups, 3) float64
        Owner × carrier × xyz, eV Å/ps, not divided by the volume; the sum over both groups is the total potential flux.

    Raises
    ------
    InputError
        A shape or dtype is wrong, an index is out of range, or a value is not finite; the message names the
        first such edge.
    DependencyError
        The arrays are on a CUDA device, and the package numba-cuda is missing.
    """
    arrays = {"senders": senders, "receivers": receivers, "groups": groups}
    arrays |= {"r_ij": r_ij, "g_ij": g_ij, "velocities": velocities}
    arrays = {name: _detached(values) for name, values in arrays.items()}
    n_groups = _count(n_groups)
    if any(_is_device_array(values) for values in arrays.values()):
        return _pair_flux_cuda({name: _device_array(values, name) for name, values in arrays.items()}, n_groups)
    return _pair_flux_cpu({name: _host_array(values, name) for name, values in arrays.items()}, n_groups)


def _pair_flux_cpu(arrays: dict[str, Any], n_groups: int) -> np.ndarray:
    from fluxan.kernels import cpu

    _check_shapes(arrays)
    first = np.empty(1, dtype=np.int64)
    for name, limit in _limits(arrays, n_groups):
        cpu.first_out_of_range(arrays[name], limit, first)
        _check_index(arrays[name], name, limit, int(first[0]))
    flux = _zero_flux(n_groups)
    cpu.pair_flux(*(arrays[name] for name in KERNEL_ORDER), flux)
    return _finite(flux, arrays)


def _pair_flux_cuda(arrays: dict[str, Any], n_groups: int) -> np.ndarray:
    try:
        from numba import cuda as device

        from fluxan.kernels import cuda
    except ImportError as error:
        raise DependencyError("CUDA arrays need the package numba-cuda: pip install 'fluxan[cuda]'") from error
    _check_shapes(arrays)
    context, stream = _torch_context(arrays["r_ij"])
    with context:
        first = device.to_device(np.empty(1, dtype=np.int64), stream=stream)
        for name, limit in _limits(arrays, n_groups):
            cuda.first_out_of_range(arrays[name], limit, first, stream)
            _check_index(arrays[name], name, limit, int(first.copy_to_host(stream=stream)[0]))
        flux = device.to_device(_zero_flux(n_groups), stream=stream)
        cuda.pair_flux(*(arrays[name] for name in KERNEL_ORDER), flux, stream)
        return _finite(flux.copy_to_host(stream=stream), arrays)


def _torch_context(values: Any) -> tuple[Any, Any]:
    """Context that makes a tensor's device the current one, and torch's current stream; none for other arrays."""
    if not type(values).__module__.startswith("torch"):
        return nullcontext(), 0
    import torch
    from numba import cuda as device

    pointer = torch.cuda.current_stream(values.device).cuda_stream
    return torch.cuda.device(values.device), device.external_stream(pointer) if pointer else 0


def _is_device_array(values: Any) -> bool:
    # Arrays of Numba's simulator have only the second attribute.
    return hasattr(values, "__cuda_array_interface__") or hasattr(values, "__cuda_ndarray__")


def _detached(values: Any) -> Any:
    return values.detach() if hasattr(values, "detach") else values


def _device_array(values: Any, name: str) -> Any:
    if not _is_device_array(values):
        raise InputError(f"{name} is not on the CUDA device but other arrays are; move all of them to one device")
    dtype = np.dtype(getattr(values, "__cuda_array_interface__", {}).get("typestr") or values.dtype)
    allowed = ("int32", "int64") if name in INDICES else ("float32", "float64")
    if dtype.name not in allowed:
        raise InputError(f"{name} has dtype {dtype.name} on the device, expected {' or '.join(allowed)}")
    return values


def _host_array(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} cannot be read as an array of numbers: {error}") from error
    if array.dtype.kind not in ("iu" if name in INDICES else "iuf") and array.size:
        raise InputError(
            f"{name} has dtype {array.dtype}, expected {'integers' if name in INDICES else 'real numbers'}"
        )
    allowed, default = (("int32", "int64"), np.int64) if name in INDICES else (("float32", "float64"), np.float64)
    native = array.dtype.name in allowed and array.dtype.isnative
    return np.asarray(array, dtype=None if native else default, order="C")


def _count(n_groups: Any) -> int:
    try:
        count = operator.index(n_groups)
    except TypeError as error:
        raise InputError(f"n_groups is {n_groups!r}, expected a whole number") from error
    if count < 1:
        raise InputError(f"n_groups is {count}, expected at least 1")
    return count


def _zero_flux(n_groups: int) -> np.ndarray:
    try:
        return np.zeros((n_groups, n_groups, 3))
    except (MemoryError, ValueError) as error:
        raise InputError(f"the flux of n_groups = {n_groups} does not fit in memory; give fewer groups") from error


def _check_shapes(arrays: dict[str, Any]) -> None:
    n_edges = len(arrays["senders"]) if len(arrays["senders"].shape) else 0
    n_atoms = len(arrays["velocities"]) if len(arrays["velocities"].shape) else 0
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(("senders", "receivers"), (n_edges,))
    expected["groups"] = (n_atoms,)
    expected |= {"r_ij": (n_edges, 3), "g_ij": (n_edges, 3), "velocities": (n_atoms, 3)}
    for name, shape in expected.items():
        if tuple(arrays[name].shape) != shape:
            raise InputError(
                f"{name} has shape {tuple(arrays[name].shape)}, expected {shape} "
                f"for {n_edges} edges (as in senders) and {n_atoms} atoms (as in velocities)"
            )


def _limits(arrays: dict[str, Any], n_groups: int) -> tuple[tuple[str, int], ...]:
    n_atoms = len(arrays["velocities"])
    return ("senders", n_atoms), ("receivers", n_atoms), ("groups", n_groups)


def _check_index(indices: Any, name: str, limit: int, first: int) -> None:
    if first < len(indices):
        owner, what = ("atom", "n_groups") if name == "groups" else ("edge", "the number of atoms")
        raise InputError(
            f"{name} of {owner} {first} (counted from 0) is {int(indices[first])}, "
            f"expected 0 to {limit - 1} since {what} is {limit}"
        )


def _finite(flux: np.ndarray, arrays: dict[str, Any]) -> np.ndarray:
    """Return the flux if it is finite, else name the first bad edge: NaN and infinity propagate into every sum."""
    if np.isfinite(flux).all():
        return flux
    values = {name: _to_host(array) for name, array in arrays.items()}
    values["velocities of the sender"] = values.pop("velocities")[values["senders"]]
    for name in ("r_ij", "g_ij", "velocities of the sender"):
        bad = np.flatnonzero(~np.isfinite(values[name]).all(axis=1))
        if bad.size:
            edge = int(bad[0])
            raise InputError(
                f"{name} of edge {edge} (counted from 0; {values['senders'][edge]} → {values['receivers'][edge]}) "
                f"is {values[name][edge].tolist()}; it must be finite"
            )
    raise InputError(
        "the flux overflows float64 although its input is finite; check the units of r_ij, g_ij, velocities"
    )


def _to_host(array: Any) -> np.ndarray:
    if hasattr(array, "copy_to_host"):
        return array.copy_to_host()
    if hasattr(array, "cpu"):
        return array.cpu().numpy()
    return array.get() if hasattr(array, "get") else np.asarray(array)
