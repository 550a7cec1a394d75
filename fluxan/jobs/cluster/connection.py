"""Connections to a Dask scheduler."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxan.errors import ClusterError, DependencyError, InputError
from fluxan.jobs.cluster.blocks import own_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed import Client

#: How long a scheduler may take to answer, s.
CONNECT = 5.0
#: Additional time that closing a failed connection may take, s.
GRACE = 3.0


@contextmanager
def open_client(client: object) -> Iterator[tuple[Client, tuple[int, int]]]:
    """Context manager: a client, and the numbers of threads of torch and Numba for its workers.

    Raises the same errors as `fluxan.jobs.cluster.open_cluster`.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise DependencyError('a cluster needs Dask: pip install "fluxan[dask]"') from error
    if isinstance(client, str) and client == "local":
        with _local() as local:
            yield local, (1, 1)
    elif isinstance(client, str | Path):
        with closing(_connect(client)) as connected:
            yield connected, own_threads()
    elif isinstance(client, Client) and not client.asynchronous:
        yield client, own_threads()
    else:
        raise InputError(
            f"client is {type(client).__name__}; expected a distributed.Client that is not asynchronous, "
            'an address, "local", or the path of a scheduler file'
        )


@contextmanager
def _local() -> Iterator[Client]:
    """Worker processes on this machine, one per core."""
    from distributed import Client, LocalCluster

    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(
            'client="local" starts processes that import the main script again: put its code under '
            'if __name__ == "__main__":'
        )
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with (
        LocalCluster(n_workers=n_cores, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def _connect(client: str | Path) -> Client:
    """Client of the scheduler at an address, or of the one described by a scheduler file."""
    from distributed import Client

    place = str(client)
    if Path(place).is_file():
        how: dict[str, Any] = {"scheduler_file": place}
    elif ":" in place and not isinstance(client, Path):
        how = {"address": place}
    else:
        raise ClusterError(f'{place} is no scheduler file, and neither "local" nor an address like tcp://host:8786')
    connected = within(CONNECT + GRACE, lambda: Client(timeout=CONNECT, **how))
    if isinstance(connected, Client):
        return connected
    reason = f" ({type(connected).__name__}: {connected})" if connected is not None else ""
    # Collect a client that could not connect now: its finalizer takes a lock of distributed's event loops that the
    # start of the next cluster holds too, and collecting it there would be a deadlock.
    connected = None
    gc.collect()
    raise ClusterError(f"no Dask scheduler answers at {place}{reason}; is it running, and reachable from here?")


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """Return or raise what `work` does; None if it takes longer, since a peer that is no scheduler may never answer."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:  # of any type: the peer need not be Dask
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None
