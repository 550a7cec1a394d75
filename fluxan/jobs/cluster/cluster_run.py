"""One job on a cluster: submits its chunks, and yields the results in order."""

from __future__ import annotations

import time
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any

from fluxan.errors import ClusterError
from fluxan.jobs.cluster.blocks import FrameBlock
from fluxan.jobs.cluster.worker import run_block, run_check

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from distributed import Client, Future

    from fluxan.flux.check import CheckReport
    from fluxan.jobs.chunks import Chunk
    from fluxan.jobs.cluster.blocks import BlockResult, JobSpec
    from fluxan.jobs.job import Job
    from fluxan.system import Frame

#: Interval in s at which workers are checked while waiting for a chunk, and time in s to wait for a new one when all
#: are lost.
LOOK = 5.0
ANOTHER_WORKER = 300.0
#: Chunks per worker that are submitted and not fetched yet, so that no worker is idle during transfers.
IN_FLIGHT = 3
#: Size in bytes from which a spec (with a pickled model) is sent to each worker once, not with every chunk.
SMALL_SPEC = 100_000


class ClusterRun:
    """One job that is being computed.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster.
    job : Job
        The job.
    spec : JobSpec
        What its blocks have in common.
    """

    def __init__(self, client: Client, job: Job, spec: JobSpec) -> None:
        from distributed.protocol.pickle import dumps

        self._client, self._job, self._spec = client, job, spec
        self._report: CheckReport | None = None
        self._flying: deque[tuple[FrameBlock, Future]] = deque()
        small = len(dumps(spec)) < SMALL_SPEC
        # The result of a task is recomputed if its worker dies; scattered data would be lost.
        self._handle = spec if small else client.submit(_same, spec, pure=False)

    def settle(self, frame: Frame) -> None:
        """Have the route checked on one frame, once for all workers."""
        result = self._fetch(FrameBlock(0), self._submit(run_check, frame))
        if result.error is not None:
            raise result.error
        self._take(result)

    def chunks(self, blocks: Iterator[FrameBlock]) -> Generator[Chunk]:
        """Yield the chunks of all blocks, in order."""
        while True:
            self._launch(blocks)
            if not self._flying:
                return
            block, future = self._flying.popleft()
            if block.fault is not None:
                raise block.fault
            result = self._fetch(block, future)
            self._take(result)
            if result.chunk is not None:
                yield result.chunk
            if result.error is not None:
                raise result.error
            if result.chunk is None or len(result.chunk) < self._job.chunk:
                return

    def close(self) -> None:
        """Cancel all unfinished tasks."""
        futures = [future for _, future in self._flying]
        self._flying.clear()
        if futures and self._client.status == "running":
            self._client.cancel(futures)

    def _launch(self, blocks: Iterator[FrameBlock]) -> None:
        """Submit as many blocks as the workers can use; only one until the route has been chosen."""
        room = IN_FLIGHT * max(1, len(self._workers())) if self._report is not None else 1
        while len(self._flying) < room:
            block = next(blocks, None)
            if block is None:
                return
            self._flying.append((block, self._submit(run_block, block, self._report)))

    def _submit(self, function: Callable[..., BlockResult], *arguments: object) -> Future:
        import dask

        # Dask warns of large tasks, which sent frames are.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
            return self._client.submit(function, self._handle, *arguments, pure=False)

    def _fetch(self, block: FrameBlock, future: Future) -> BlockResult:
        """Result of a block; waits as long as there are workers, or new ones may come.

        Raises
        ------
        ClusterError
            Its workers died one after another, or the scheduler is gone.
        """
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        lonely_since = None
        place = f"{self._spec.name}, frame {self._job.number(block.first)}"
        while True:
            try:
                return future.result(timeout=LOOK)
            except TimeoutError:
                if future.status == "error":
                    raise
                if self._workers():
                    lonely_since = None
                    continue
                lonely_since = lonely_since or time.monotonic()
                if time.monotonic() - lonely_since > ANOTHER_WORKER:
                    raise ClusterError(
                        f"{place}: the cluster has lost all its workers; frames before are safe"
                    ) from None
            except KilledWorker as error:
                raise ClusterError(
                    f"{place}: {error.allowed_failures + 1} workers died over this chunk, one after another; "
                    "have they enough memory? Frames before are safe"
                ) from None
            except (CancelledError, OSError) as error:
                if future.status == "error":
                    raise
                raise ClusterError(
                    f"{place}: the scheduler is gone; frames before are safe, resume the output"
                ) from error

    def _workers(self) -> dict[str, int]:
        try:
            return self._client.nthreads()
        except (OSError, TimeoutError, ValueError):
            return {}

    def _take(self, result: BlockResult) -> None:
        """Issue the warnings of workers, and keep the report of the route's check."""
        for category, message in result.warned:
            warnings.warn_explicit(message, category, __file__, 1)
        for topic, message in result.reported.items():
            self._job.warn(topic, message)
        self._report = self._report or result.report


def _same(value: Any) -> Any:
    return value
