"""How CPU kernels are compiled: the flags, the cache on disk, serial and parallel builds."""

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

#: Of fastmath only fused multiply-adds, which round once instead of twice (single-precision pair flux: 3.2 → 2.8 ns per
#: edge): sums keep their order and NaN stays visible. error_model="numpy" only drops the test for division by 0.
FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

# Reordering a sum is what lets the compiler use vector lanes: 16 instead of 2.2 products per ns. A block holds about a
# thousand terms, so the order changes its sum by some 1e-16 of Σ|x y|; a test asserts 1e-14. NaN and infinity keep
# their meaning.
_REORDER = {"reassoc", "contract", "nsz"}

# Numba's "workqueue" threading layer aborts the process when two threads of Python launch at once.
_one_launch = threading.Lock()


def _user_cache() -> Path:
    """Folder where this user's programs keep what they can make again."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home()))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def source_hash(folder: Path) -> str:
    """Hash of all kernel sources: Numba alone does not see that a function in another file has changed."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path | None:
    """Folder for compiled kernels, one per state of the sources; None where the user can write nowhere."""
    try:
        folder = _user_cache() / "fluxan" / source_hash(Path(__file__).parent)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None


_CACHE = cache_folder()


def compile_cpu(function: Callable[..., Any], build: str, **options: object) -> Callable[..., Any]:
    """Compile for the CPU; `build` names a folder of the cache, since Numba's key does not hold the options."""
    if _CACHE is None:
        return numba.njit(**(FLAGS | options))(function)
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_CACHE / build)  # read when the decorator runs, not when it compiles
    try:
        return numba.njit(cache=True, **(FLAGS | options))(function)
    finally:
        numba.config.CACHE_DIR = before


def n_threads() -> int:
    """Give the number of threads that kernels may use: OMP_NUM_THREADS at most, unless NUMBA_NUM_THREADS is set."""
    _start_threads()
    return min(numba.get_num_threads(), _most_threads())


@cache
def _most_threads() -> int:
    # Numba reads its own variable alone, and only when it is imported.
    asked = os.environ.get("OMP_NUM_THREADS", "")
    most = numba.config.NUMBA_NUM_THREADS
    return max(1, min(int(asked), most)) if asked.isdigit() and "NUMBA_NUM_THREADS" not in os.environ else most


@cache
def _start_threads() -> None:
    """Start Numba's threads and leave torch its own.

    Numba's OpenMP layer sets the number of threads of the whole process when it starts. A torch that was told to use
    one thread would use two from then on, and on busy cores each of its operations waits for both (25 times slower).
    """
    torch = sys.modules.get("torch")
    threads_of_torch = torch.get_num_threads() if torch is not None else 0
    numba.get_num_threads()
    if torch is not None:
        torch.set_num_threads(threads_of_torch)


def serial(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that kernels call, or a kernel that runs on one thread."""
    return compile_cpu(function, "serial")


def reordered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a sum whose order the compiler may choose."""
    return compile_cpu(function, "reordered", fastmath=_REORDER)


class Kernel:
    """One loop over chunks compiled twice: ``parallel=True`` costs 20 % when it runs on one thread.

    Parameters
    ----------
    function
        A loop over `numba.prange`, each turn of which writes to a place of its own in the last argument.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._serial = compile_cpu(function, "serial")
        self._parallel = compile_cpu(function, "parallel", parallel=True)

    def __call__(self, *arguments: Any) -> Any:
        """Run on as many threads as `n_threads` says, on one where there is a single turn."""
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
