"""A call that is repeated in a thread while a block runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(call: Callable[[], object], interval_s: float, *, end_s: float = 60.0) -> Iterator[None]:
    """Repeat a call while the block runs, first after one interval.

    Args:
        call: What is called, in a thread. An exception ends the repetition, not the block.
        interval_s: Seconds between the end of one call and the start of the next.
        end_s: Longest wait at the end of the block, in seconds, for a call that is running. Ours.
    """
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(interval_s):
            call()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=end_s)
