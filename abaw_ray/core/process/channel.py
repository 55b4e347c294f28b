"""Bytes over a socket with a timeout; whenever a transfer exceeds it, the other side is checked."""

import socket
from collections.abc import Callable


def send(channel: socket.socket, message: bytes, has_ended: Callable[[], bool]) -> None:
    """Send all bytes.

    Args:
        channel: A socket with a timeout.
        message: The bytes.
        has_ended: Whether the other side has ended; called after each timeout. What it raises ends the transfer.

    Raises:
        ConnectionError: the other side has ended.
    """
    rest = memoryview(message)
    while rest:
        rest = rest[_transfer(channel.send, rest, has_ended) :]


def receive(channel: socket.socket, size: int, has_ended: Callable[[], bool]) -> bytearray:
    """Exactly ``size`` bytes; arguments and errors as for ``send``."""
    message = bytearray(size)
    rest = memoryview(message)
    while rest:
        count = _transfer(channel.recv_into, rest, has_ended)
        if not count:
            raise ConnectionError("the channel is closed")
        rest = rest[count:]
    return message


def _transfer(operation: Callable[[memoryview], int], data: memoryview, has_ended: Callable[[], bool]) -> int:
    ended = False
    while True:
        try:
            return operation(data)
        except TimeoutError:
            if ended:  # and no more bytes came; the channel may still be open in a process that the other side started
                raise ConnectionError("the other side has ended") from None
            ended = has_ended()
