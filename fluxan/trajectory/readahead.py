"""Reading runs ahead of the computation, in a thread with a short queue."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

Item = TypeVar("Item")

#: How often a reader that waits for room looks whether its consumer has gone, s.
_PATIENCE = 0.1


class _Prefetcher(threading.Thread):
    """Fills a queue with (item, None) and at last with (_END, error or None)."""

    def __init__(self, iterable: Iterable[Any], depth: int) -> None:
        super().__init__(name="fluxan-read-ahead", daemon=True)
        self.items: queue.Queue = queue.Queue(maxsize=max(1, depth))
        self.stopped = threading.Event()
        self._iterator = iter(iterable)

    def run(self) -> None:
        """Read until the end, an error, or until nobody wants more."""
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
                self.items.put(entry, timeout=_PATIENCE)
            except queue.Full:
                continue
            return True
        return False


_END = object()


def read_ahead(iterable: Iterable[Item], depth: int = 4) -> Generator[Item, None, None]:
    """Yield what `iterable` yields, taken up to `depth` items ahead in a thread of its own.

    An exception of the iterable is raised in its turn, after the items before it. The thread ends when the consumer
    stops early (the generator is closed or collected); it is a daemon besides, so that an interpreter may exit.
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
