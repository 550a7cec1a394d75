"""Memory that glibc keeps from one evaluation of a model to the next, instead of taking it from the system anew.

glibc maps every array above 32 MiB for itself and gives memory back at each chance, so the tensors of every frame are
made of fresh pages: 200,000 page faults, over a third of the processor's time, for a frame of 216 atoms of MACE
(benchmarks/README.md). Every job that evaluates a model raises the thresholds, once per process; ``FLUXAN_MALLOC=0`` in
the environment leaves the allocator as it is. Other C libraries (musl, macOS) have no such thresholds.

What is kept is bounded by what one frame needs, and by gaps: up to 7 % more at the peak for message-passing networks
whose cell fluctuates. A model of a few tensors that are all large, and differ in size from frame to frame, may take
twice the memory; it does not grow further.
"""

from __future__ import annotations

import ctypes
import logging
import os
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Variable of the environment that turns this off.
SWITCH = "FLUXAN_MALLOC"
#: Parameters of mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
#: Larger arrays are mapped for themselves, B: they are given back at once, and leave no gaps among the others.
_LARGEST_KEPT = 1 << 28
_NEVER = -1

_log = logging.getLogger(__name__)


@cache
def keep_memory() -> bool:
    """Let the allocator keep what is freed; whether it does. Only the first call in a process does something.

    Dask starts its workers with MALLOC_TRIM_THRESHOLD_=65536; that is overruled too.
    """
    if os.environ.get(SWITCH, "").strip().lower() in {"0", "no", "off", "false"}:
        _log.debug("the allocator is left as it is, %s=%s", SWITCH, os.environ[SWITCH])
        return False
    library = _glibc()
    if library is None:
        return False
    if not library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT):
        library.mallopt(_M_MMAP_MAX, 0)  # older ones take no threshold above 32 MiB
    library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    _log.debug("the allocator keeps freed memory for later frames; %s=0 turns that off", SWITCH)
    return True


@contextmanager
def released_memory() -> Iterator[None]:
    """Give the memory that was kept back to the system, however the job within ends."""
    try:
        yield
    finally:
        library = _glibc()
        if library is not None and keep_memory():
            library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None
    names = ("gnu_get_libc_version", "mallopt", "malloc_trim")
    return library if all(hasattr(library, name) for name in names) else None
