"""Reading runs ahead of the computation, in a thread with a short queue."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")

_END = object()


def read_ahead(iterable: Iterable[Item], depth: int = 4) -> Iterator[Item]:
    """Yield what `iterable` yields, taken up to `depth` items ahead in a thread of its own.

    An exception of the iterable is raised in its turn, after the items before it. The thread ends when the consumer
    stops early (the generator is closed or collected); it is a daemon besides, so that an interpreter may exit.
    """
    items: queue.Queue = queue.Queue(maxsize=max(1, depth))
    stopped = threading.Event()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                items.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        iterator = iter(iterable)
        try:
            for item in iterator:
                if not put((item, None)):
                    break
        except BaseException as error:  # noqa: BLE001 - it is raised again in the consumer's thread
            put((_END, error))
        else:
            put((_END, None))
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=read, name="fluxan-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = items.get()
            if item is _END:
                if error is not None:
                    raise error
                return
            yield item
    finally:
        stopped.set()
        thread.join(timeout=5.0)
