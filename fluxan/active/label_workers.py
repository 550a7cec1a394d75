"""Processes that evaluate the reference: kept busy, and replaced where they hang or die."""

from __future__ import annotations

import time
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, NamedTuple

from fluxan.active.label_worker import serve
from fluxan.errors import InputError
from fluxan.trajectory.memory import atoms_of_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from fluxan.active.reference_settings import ReferenceSettings
    from fluxan.system import Frame

#: Time that a worker has to make its calculator, s.
_START = 600.0


class Worker(NamedTuple):
    """A process and the connection to it."""

    process: Any
    connection: Connection


class LabelWorkers:
    """Processes that evaluate the reference.

    Parameters
    ----------
    settings : ReferenceSettings
        The reference, the number of processes, and the time for one frame.

    Raises
    ------
    InputError
        The reference cannot be made.
    """

    def __init__(self, settings: ReferenceSettings) -> None:
        self._settings = settings
        self._context = get_context("spawn")
        self._idle = [self._start() for _ in range(settings.workers)]
        self._busy: dict[Connection, tuple[Worker, int, float]] = {}

    def answers(self, frames: Sequence[Frame], numbers: list[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Evaluate some of the frames; number and answer, as they come."""
        waiting = list(numbers)
        while waiting or self._busy:
            while waiting and self._idle:
                worker, number = self._idle.pop(), waiting.pop(0)
                self._send(worker, number, frames[number])
            nearest = min(limit for _, _, limit in self._busy.values())
            ready: list[Any] = wait(list(self._busy), timeout=max(0.0, nearest - time.monotonic()))
            now = time.monotonic()
            late = [c for c, (_, _, limit) in self._busy.items() if c not in ready and now >= limit]
            for connection in [*ready, *late]:
                worker, number, _ = self._busy.pop(connection)
                answer = None if connection in late else _received(worker.connection)
                self._idle.append(worker if answer else self._replace(worker))
                lost = f"timed out after {self._settings.timeout:g} s" if connection in late else "its process died"
                yield number, answer or {"failure": lost}

    def _send(self, worker: Worker, number: int, frame: Frame) -> None:
        """Give a worker a frame; one that has died since its last answer is replaced."""
        try:
            worker.connection.send((number, atoms_of_frame(frame)))
        except OSError:
            worker = self._replace(worker)
            worker.connection.send((number, atoms_of_frame(frame)))
        self._busy[worker.connection] = worker, number, time.monotonic() + self._settings.timeout

    def close(self) -> None:
        """End all processes."""
        for worker in [*self._idle, *(worker for worker, _, _ in self._busy.values())]:
            _end(worker)

    def _replace(self, worker: Worker) -> Worker:
        _end(worker)
        return self._start()

    def _start(self) -> Worker:
        mine, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self._settings.described()), daemon=True)
        process.start()
        theirs.close()
        try:
            state, reason = mine.recv() if mine.poll(_START) else ("refused", "it took too long to start")
        except EOFError:
            state = "refused"
            reason = 'its process died at the start (a script that learns needs `if __name__ == "__main__":`)'
        if state != "ready":
            process.kill()
            raise InputError(f"the reference cannot be made: {reason}")
        return Worker(process, mine)


def _received(connection: Connection) -> dict[str, Any] | None:
    """An answer, or None if the process has died."""
    try:
        return connection.recv()[1]
    except (EOFError, OSError):
        return None


def _end(worker: Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()
