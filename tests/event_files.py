"""Reads event files of TensorBoard."""

import struct

from tensorboardX.proto.event_pb2 import Event


def events(data):
    """Content of an event file: records of length, checksum, event, checksum."""
    found = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def read_scalars(storage, folder):
    """Tag, step, value and time of all scalars, in the order in which TensorBoard reads them."""
    return [
        (value.tag, event.step, round(value.simple_value, 4), event.wall_time)
        for name in sorted(storage.files(folder))
        for event in events(storage.read_bytes(f"{folder}/{name}"))
        for value in event.summary.value
    ]
