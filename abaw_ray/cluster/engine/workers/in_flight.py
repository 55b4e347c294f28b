"""A bound on the items between two chained operators.

Ray Data bounds the bytes between operators, but only manifest rows pass through it here: a fast decoder would fill the storage with chips that
wait for the encoder. So the first operator takes a slot before it stores the chips of an item, and the last one releases it when they are deleted.
Decoding needs no slot: all decoders work, however few encoders there are.
"""

import asyncio
from typing import Any

from abaw_ray.cluster.engine.workers.driver_node import alive_nodes, start_on_driver_node

_CHECK_S = 5.0
"""Seconds between two checks whether the nodes of slot holders are alive, while a worker waits for a slot. Ours."""


class InFlightSlots:
    """Ray actor that counts items in flight by key, so that a repeated item takes no second slot."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._holders: dict[str, str] = {}
        self._freed = asyncio.Condition()

    async def acquire(self, key: str, node: str) -> None:
        """Wait for a slot and take it. An item that already has one (its worker was lost) keeps it."""
        async with self._freed:
            while key not in self._holders and len(self._holders) >= self.limit:
                try:
                    await asyncio.wait_for(self._freed.wait(), _CHECK_S)
                except TimeoutError:
                    self._drop_lost()
            self._holders[key] = node

    async def release(self, key: str) -> None:
        """Release the slot of an item; without one, do nothing."""
        async with self._freed:
            self._holders.pop(key, None)
            self._freed.notify_all()

    def _drop_lost(self) -> None:
        # A machine that is lost in the middle of many items would keep all slots: its actors restart only where a CPU is free, and the other
        # workers, waiting for slots, hold all of them.
        alive = alive_nodes()
        self._holders = {key: node for key, node in self._holders.items() if node in alive}


def start_slots(limit: int) -> Any:
    """An actor of ``InFlightSlots`` on the driver's node."""
    return start_on_driver_node(InFlightSlots, limit, max_concurrency=10_000)
