"""Compiles CPU kernels: flags, cache on disk, serial and parallel builds."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

#: Flags of all CPU kernels. Fastmath allows only fused multiply-adds, which round once instead of twice (pair flux in
#: single precision: 2.8 instead of 3.2 ns per edge): sums keep their order, and NaN propagates. error_model="numpy"
#: omits the test for division by zero.
FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

# The compiler can vectorise a sum only if it may reorder it: 16 instead of 2.2 products per ns. A block holds about a
# thousand terms, so the order changes its sum by some 1e-16 of Σ|x y|; a test asserts 1e-14. NaN and infinity keep
# their meaning.
_REORDER = {"reassoc", "contract", "nsz"}

# Numba's "workqueue" threading layer aborts the process when two Python threads launch kernels at once.
_one_launch = threading.Lock()


def _user_cache() -> Path:
    """Folder for this user's cached files."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home()))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def source_hash(folder: Path) -> str:
    """Hash of all kernel sources: Numba's own cache does not notice that a function in another file has changed."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path | None:
    """Folder for compiled kernels, one for each version of the sources; None where no folder is writable."""
    try:
        folder = _user_cache() / "fluxan" / source_hash(Path(__file__).parent)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None


_CACHE = cache_folder()


def compile_cpu(function: Callable[..., Any], build: str, **options: object) -> Callable[..., Any]:
    """Compile for the CPU.

    Parameters
    ----------
    function : callable
        The function.
    build : str
        Name of a folder of the cache: builds with other options need another folder, since Numba's
        cache does not tell them apart.
    **options : object
        Options of `numba.njit` in addition to `FLAGS`.
    """
    if _CACHE is None:
        return numba.njit(**(FLAGS | options))(function)
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_CACHE / build)  # read when the decorator runs, not when it compiles
    try:
        return numba.njit(cache=True, **(FLAGS | options))(function)
    finally:
        numba.config.CACHE_DIR = before


def n_threads() -> int:
    """Return the number of threads that kernels may use: at most OMP_NUM_THREADS, unless NUMBA_NUM_THREADS is set."""
    _start_threads()
    return min(numba.get_num_threads(), _max_threads())


@cache
def _max_threads() -> int:
    # Numba itself reads NUMBA_NUM_THREADS alone, once, when it is imported.
    asked = os.environ.get("OMP_NUM_THREADS", "")
    limit = numba.config.NUMBA_NUM_THREADS
    return max(1, min(int(asked), limit)) if asked.isdigit() and "NUMBA_NUM_THREADS" not in os.environ else limit


@cache
def _start_threads() -> None:
    """Start Numba's threads without changing the number of torch's threads.

    Numba's OpenMP layer sets the number of threads of the whole process when it starts: torch, if set to one thread,
    would use two from then on, and on busy cores each of its operations waits for both (25 times slower).
    """
    torch = sys.modules.get("torch")
    threads_of_torch = torch.get_num_threads() if torch is not None else 0
    numba.get_num_threads()
    if torch is not None:
        torch.set_num_threads(threads_of_torch)


def serial(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that kernels call, or a kernel for one thread."""
    return compile_cpu(function, "serial")


def reordered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a sum in which the compiler may choose the order of the terms."""
    return compile_cpu(function, "reordered", fastmath=_REORDER)


class Kernel:
    """A loop over chunks, compiled twice, serial and parallel: a parallel build on one thread is 20 % slower.

    Parameters
    ----------
    function : callable
        A loop over `numba.prange`; each iteration writes to its own part of the last argument.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._serial = compile_cpu(function, "serial")
        self._parallel = compile_cpu(function, "parallel", parallel=True)

    def __call__(self, *arguments: Any) -> Any:
        """Run on `n_threads` threads, or on one thread where the loop has a single iteration."""
        threads = n_threads()
        if threads == 1 or len(arguments[-1]) < 2:
            return self._serial(*arguments)
        with _one_launch:
            before = numba.get_num_threads()
            numba.set_num_threads(threads)
            try:
                return self._parallel(*arguments)
            finally:
                numba.set_num_threads(before)
