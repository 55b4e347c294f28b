"""Sends and receives bytes over a socket with a timeout; ``has_ended`` is called after each timeout."""

import socket
from collections.abc import Callable


def send(channel: socket.socket, message: bytes, has_ended: Callable[[], bool]) -> None:
    """Send all bytes.

    Args:
        channel: A socket with a timeout.
        message: The bytes.
        has_ended: Whether the peer has ended; called after each timeout. An exception from it ends the transfer.

    Raises:
        ConnectionError: the peer has ended.
    """
    remaining = memoryview(message)
    while remaining:
        remaining = remaining[_transfer(channel.send, remaining, has_ended) :]


def receive(channel: socket.socket, size: int, has_ended: Callable[[], bool]) -> bytearray:
    """Exactly ``size`` bytes; arguments and errors as for ``send``."""
    message = bytearray(size)
    remaining = memoryview(message)
    while remaining:
        count = _transfer(channel.recv_into, remaining, has_ended)
        if not count:
            raise ConnectionError("the channel is closed")
        remaining = remaining[count:]
    return message


def _transfer(operation: Callable[[memoryview], int], data: memoryview, has_ended: Callable[[], bool]) -> int:
    ended = False
    while True:
        try:
            return operation(data)
        except TimeoutError:
            if ended:  # one more timeout without bytes; the channel may still be open in a process that the peer started
                raise ConnectionError("the peer has ended") from None
            ended = has_ended()
