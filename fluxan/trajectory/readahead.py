"""Reads frames ahead of the computation, in a thread with a bounded queue."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

Item = TypeVar("Item")

#: Interval at which a thread whose queue is full checks whether its consumer has stopped, s.
_POLL_INTERVAL = 0.1


class _Prefetcher(threading.Thread):
    """Fills a queue with (item, None), and at the end with (_END, error or None)."""

    def __init__(self, iterable: Iterable[Any], depth: int) -> None:
        super().__init__(name="fluxan-read-ahead", daemon=True)
        self.items: queue.Queue = queue.Queue(maxsize=max(1, depth))
        self.stopped = threading.Event()
        self._iterator = iter(iterable)

    def run(self) -> None:
        """Read until the end, an error, or until the consumer stops."""
        error: BaseException | None = None
        try:
            for item in self._iterator:
                if not self._put((item, None)):
                    break
        except BaseException as caught:
            error = caught  # raised again in the consumer's thread
        finally:
            close = getattr(self._iterator, "close", None)
            if close is not None:
                close()
        self._put((_END, error))

    def _put(self, entry: tuple[Any, BaseException | None]) -> bool:
        while not self.stopped.is_set():
            try:
                self.items.put(entry, timeout=_POLL_INTERVAL)
            except queue.Full:
                continue
            return True
        return False


_END = object()


def read_ahead(iterable: Iterable[Item], depth: int = 4) -> Generator[Item, None, None]:
    """Yield the items of an iterable, which a thread reads ahead.

    An exception of the iterable is raised after the items before it. The thread ends when the consumer stops early (the
    generator is closed or collected); as a daemon it does not keep the interpreter from exiting.

    Parameters
    ----------
    iterable : iterable
        Iterated over in the thread.
    depth : int
        Number of items that may wait in the queue.
    """
    reader = _Prefetcher(iterable, depth)
    reader.start()
    try:
        while True:
            item, error = reader.items.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        reader.stopped.set()
        reader.join(timeout=5.0)
