"""Two threads that acquire the lock of one folder at the same time."""

import threading

from abaw_ray.core.errors import BusyError
from abaw_ray.core.stage_store.lock import writer_lock
from abaw_ray.core.storage.storage import Storage


def outcomes_of_two_writers(storage: Storage, timeout: float) -> list[str]:
    """Sorted outcomes: ``admitted`` or ``refused``. An admitted writer holds the lock until the other is refused, at most ``timeout`` seconds."""
    outcomes: list[str] = []
    start, refused = threading.Barrier(2), threading.Event()

    def write() -> None:
        start.wait()
        try:
            with writer_lock(storage, "stage"):
                outcomes.append("admitted")
                refused.wait(timeout)
        except BusyError:
            outcomes.append("refused")
            refused.set()

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return sorted(outcomes)
