"""Settings of glibc's allocator: freed memory is kept for the next evaluation of a model.

By default glibc maps each array above 32 MiB separately and returns memory to the system as soon as it is freed, so
the tensors of every frame consist of new pages: 200,000 page faults, over a third of the processor's time, for a frame
of 216 atoms with MACE (benchmarks/README.md). Every job that evaluates a model therefore raises the thresholds, once
per process; ``FLUXAN_MALLOC=0`` in the environment leaves the allocator as it is. Other C libraries (musl, macOS) have
no such thresholds.

The kept memory is what one frame needs, plus fragmentation: the peak is up to 7 % higher for message-passing networks
in a fluctuating cell. A model of a few tensors that are all large, and differ in size from frame to frame, may take
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

#: Environment variable that turns this off.
SWITCH = "FLUXAN_MALLOC"
#: Parameters of mallopt (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
#: Arrays larger than this, in bytes, are mapped separately: they are returned at once and do not fragment the heap.
_LARGEST_KEPT = 1 << 28
_NEVER = -1

_log = logging.getLogger(__name__)


@cache
def keep_memory() -> bool:
    """Let the allocator keep freed memory. Only the first call in a process has an effect.

    Dask starts its workers with MALLOC_TRIM_THRESHOLD_=65536; that is overridden too.

    Returns
    -------
    bool
        Whether memory is kept: False where the environment turns it off, or the C library is not glibc.
    """
    if os.environ.get(SWITCH, "").strip().lower() in {"0", "no", "off", "false"}:
        _log.debug("the allocator is left as it is, %s=%s", SWITCH, os.environ[SWITCH])
        return False
    library = _glibc()
    if library is None:
        return False
    if not library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT):
        library.mallopt(_M_MMAP_MAX, 0)  # older versions refuse thresholds above 32 MiB
    library.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    _log.debug("the allocator keeps freed memory for later frames; %s=0 turns that off", SWITCH)
    return True


@contextmanager
def released_memory() -> Iterator[None]:
    """Return kept memory to the system at the end of the context, after errors too."""
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
