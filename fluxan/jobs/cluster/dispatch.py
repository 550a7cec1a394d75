"""A Dask cluster whose workers compute chunks."""

from __future__ import annotations

import uuid
import warnings
from collections import Counter
from contextlib import closing, contextmanager
from itertools import chain
from typing import TYPE_CHECKING

from fluxan.errors import ClusterError
from fluxan.jobs.cluster.blocks import JobSpec, named_blocks, sent_blocks
from fluxan.jobs.cluster.cluster_run import ClusterRun
from fluxan.jobs.cluster.connection import open_client, within
from fluxan.jobs.cluster.sources import ModelSource, TrajectorySource
from fluxan.jobs.cluster.worker import refuse_other_version
from fluxan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from distributed import Client

    from fluxan.jobs.chunks import Chunk
    from fluxan.jobs.job import Job, JobInputs
    from fluxan.series.flux_writer import FluxWriter

#: Time to wait for the first worker, and for all workers to report their version, s.
FIRST_WORKER = 15.0
ANSWER = 30.0


@contextmanager
def open_cluster(client: object) -> Iterator[Cluster]:
    """Context manager: a cluster whose workers can compute. A client that the user passed stays open.

    Parameters
    ----------
    client : distributed.Client or str or Path
        Client, address, path of a scheduler file, or "local", which starts one process per core here, with one thread
        each.

    Raises
    ------
    ClusterError
        The scheduler does not answer, there are no workers, or they have another version of fluxan.
    DependencyError
        Dask is not installed.
    InputError
        `client` is none of these.
    """
    with open_client(client) as (opened, threads):
        cluster = Cluster(opened, threads)
        cluster.refuse_unfit_workers()
        yield cluster


class Cluster:
    """Workers that compute chunks.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster.
    threads : tuple of int
        Numbers of threads of torch and of Numba, for each worker.
    """

    def __init__(self, client: Client, threads: tuple[int, int]) -> None:
        self._client, self._threads = client, threads
        self._address = client.scheduler.address if client.scheduler is not None else "the scheduler"

    def refuse_unfit_workers(self) -> None:
        """Raise ClusterError if there is no worker, or one with another version; warn of more threads than cores."""
        try:
            self._client.wait_for_workers(1, timeout=FIRST_WORKER)
        except TimeoutError:
            raise ClusterError(
                f"the cluster at {self._address} has no workers after {FIRST_WORKER:g} s; start some, or wait for them "
                "before (client.wait_for_workers)"
            ) from None
        probe = _make_probe()
        answers = within(ANSWER, lambda: self._client.run(probe, on_error="return"))
        if answers is None:
            raise ClusterError(f"workers of the cluster at {self._address} do not answer")
        for worker, answer in answers.items():
            if not isinstance(answer, tuple):
                raise ClusterError(f"worker {worker} has no fluxan that can be imported ({answer}); install it there")
            refuse_other_version(answer[0], __version__, worker=f"worker {worker} on {answer[1]}")
        self._warn_of_threads(Counter(host for _, host, _ in answers.values()), answers.values())

    def chunks(self, job: Job, writer: FluxWriter, inputs: JobInputs) -> Generator[Chunk]:
        """Chunks of a job in order, from where the writer's file ends; an error comes after the frames before it."""
        spec = self._spec(job, inputs)
        with closing(job.frames(writer)) as frames:
            first = next(frames, None)  # resume only an output of the same job
            if first is None:
                return
            if spec.trajectory is None:
                read = (frame for _, frame in chain([first], frames))
                blocks = sent_blocks(read, job.chunk, writer.n_frames, job.maker.checker.last_time)
            else:
                frames.close()
                blocks = named_blocks(job.trajectory, job.chunk, writer.n_frames)
            with closing(ClusterRun(self._client, job, spec)) as run:
                run.settle(first[1])
                yield from run.chunks(blocks)

    def _spec(self, job: Job, inputs: JobInputs) -> JobSpec:
        from distributed.protocol.pickle import dumps

        options = job.trajectory.options
        return JobSpec(
            job=uuid.uuid4().hex,
            version=__version__,
            name=job.trajectory.name,
            trajectory=TrajectorySource.of(job.trajectory, inputs.trajectory, inputs.velocities, inputs.reader),
            model=ModelSource.of(job.model, inputs.model, dumps),
            groups=job.groups,
            route=job.route,
            device=inputs.device,
            chunk=job.chunk,
            time_step=job.time_step,
            last_time=job.first.time - job.time_step,
            start=options.start,
            stride=options.stride,
            threads=self._threads,
        )

    def _warn_of_threads(self, workers: Counter[str], answers: Iterable[tuple[str, str, int]]) -> None:
        cores = {host: n_cores for _, host, n_cores in answers}
        threads = max(self._threads)
        for host, n_workers in workers.items():
            if threads > 1 and n_workers * threads > cores[host]:
                warnings.warn(
                    f"{n_workers} workers on {host} compute with {threads} threads each, as this process does, on "
                    f"{cores[host]} cores; set OMP_NUM_THREADS=1 here",
                    stacklevel=2,
                )


def _make_probe() -> Callable[[], tuple[str, str, int]]:
    """A function that is pickled with its code, so that workers without this version of fluxan can run it."""

    def probe() -> tuple[str, str, int]:
        import os
        import socket

        from fluxan.version import __version__ as worker_version  # the worker's own

        return worker_version, socket.gethostname(), os.cpu_count() or 1

    return probe
