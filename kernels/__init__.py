"""Array kernels: Numba on the CPU and on CUDA devices, with the same names and argument order.

`cpu` and `cuda` hold the heat flux, `correlation_cpu`, `correlation_cuda` and `spectra` the correlators and spectra.
`terms` holds the scalar terms that CPU and CUDA kernels have in common, `jit` how CPU kernels are compiled,
`c_functions` the C interface. The CPU kernels of the heat flux are also names of the package itself: `pair_flux`,
`atomic_virial`, `virial_flux`, `convection`. Numba is imported when one of them is first used.

Kernels take pre-allocated arrays, outputs last; outputs are overwritten. Sums are in float64 whatever the inputs are.
Kernels do not check their input: an index out of range is undefined behaviour. `fluxan.pair_flux` checks it first.

Arrays of the heat flux:

=================== ======================== ============== ====================================================
name                shape                    dtype          meaning and unit
=================== ======================== ============== ====================================================
``senders``         (n_edges,)               int            carrier atom *j* of an edge
``receivers``       (n_edges,)               int            atom *i* that owns the energy of an edge
``shifts``          (n_edges, 3)             int            cell translations of the sender
``r_ij``            (n_edges, 3)             float          r_j + shifts·cell − r_i, Å
``g_ij``            (n_edges, 3)             float          ∂U_i/∂r_ij, eV/Å
``positions``       (n_atoms, 3)             float          Å
``cell``            (3, 3)                   float64        rows are cell vectors, Å
``velocities``      (n_atoms, 3)             float          Å/ps
``masses``          (n_atoms,)               float          u
``energies``        (n_atoms,)               float          U_i, eV
``groups``          (n_atoms,)               int            group of each atom, 0 to n_groups − 1
``virial``          (n_atoms, 3, 3)          float          W_j[a, b] = −Σ_i r_ij,a g_ij,b, eV
``flux``            (n_groups, n_groups, 3)  float64        potential flux, owner × carrier, eV Å/ps (`pair_flux`)
``flux``            (n_groups, 3)            float64        Σ W_j v_j by carrier, eV Å/ps (`virial_flux`)
``kinetic``         (n_groups, 3)            float64        Σ ½ m v² v, eV Å/ps
``convective``      (n_groups, 3)            float64        Σ U_i v_i, eV Å/ps
``velocity``        (n_groups, 3)            float64        Σ v_i, Å/ps
``starts``          (n_atoms + 1,)           int64          edges of receiver i are starts[i] to starts[i + 1] − 1
=================== ======================== ============== ====================================================

Arrays of the correlators; the unit of a product is that of the samples squared:

=================== =============================== ============ ===================================================
name                shape                           dtype        meaning
=================== =============================== ============ ===================================================
``samples``         (n, n_channels)                 float64      samples as they arrive, one per time step
``rows``            (n_channels, n)                 float64      one row for each channel, contiguous in time
``pairs``           `correlation_cpu.Pairs`         int64        channel pairs (a, b) whose products are summed
``levels``          `correlation_cpu.Levels`        see there    state of a multi-tau correlator
``products``        (n_lags, n_pairs)               float64      Σ_t a(t − lag) b(t)
``reference``       (n_channels,)                   float64      subtracted from every sample, against cancellation
``padded``          (n_channels, n_segments, m)     float64      zero-padded segments of samples
``spectra``         (n_segments, 2 M + 2)           float64      Fourier transforms, real and imaginary interleaved
=================== =============================== ============ ===================================================

``int`` is int32 or int64 (shifts also int8), ``float`` is float32 or float64; arrays are C-contiguous.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cpu import atomic_virial, convection, pair_flux, virial_flux

__all__ = ["atomic_virial", "convection", "pair_flux", "virial_flux"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.cpu"), name)
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
