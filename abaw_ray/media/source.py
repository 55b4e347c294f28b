"""A URI -> an open libav container, and the error class for each kind of read failure. Other modules choose the streams to decode.

``MissingError``: no such file. ``StorageError``: a broken connection or disk, where a retry may succeed. ``MemoryError``: the process is short
of memory. ``ItemError``: the content is not a video and stays broken. libav reports a connection that is lost within a file as invalid
data, and often a lack of memory too, so this module checks for both.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError

from abaw_ray.core.errors import AbawError, ItemError, MissingError, StorageError
from abaw_ray.core.process.child import memory_is_short
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.media.remote import RemoteFile

_DISK_ERRORS = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO, errno.ESTALE, errno.ENOLINK}
_NETWORK_ERRORS = {errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH}
_PEER_ERRORS = {errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED}
_IO_ERRORS = _DISK_ERRORS | _NETWORK_ERRORS | _PEER_ERRORS | {errno.EMFILE, errno.ENFILE}
"""Error numbers of a disk, a mounted share or the process, never of a video's content."""


class Source:
    """An open container and, for a remote one, its file."""

    def __init__(self, uri: str, container: InputContainer, file: RemoteFile | None) -> None:
        self.uri, self.container, self.file = uri, container, file

    def error(self, cause: Exception, reason: str, last_frame: int | None = None) -> AbawError | MemoryError:
        """The error to raise for an error of libav: of the connection, disk or memory if these failed, else an ``ItemError`` with ``reason``."""
        return _classify(self.uri, self.file, cause, reason, last_frame)

    def packets(self, stream: av.VideoStream | av.AudioStream) -> Iterator[av.Packet]:
        """Packets of one stream from the container's position to its end, and an empty packet last, which flushes the decoder.

        PyAV's own empty packets are not used: it yields none if libav found further streams during demuxing, as in a broadcast.
        """
        packets = self.container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except IndexError:  # at the end, PyAV looks up streams found during demuxing in its list of streams found on opening
                packet = None
            if packet is None:
                break
            if packet.size:
                yield packet
        last = av.Packet(0)
        last.stream = stream
        if stream.time_base is not None:
            last.time_base = stream.time_base
        yield last

    @property
    def disconnected(self) -> bool:
        """Whether the connection broke."""
        return self.file is not None and self.file.failure is not None

    def check(self) -> None:
        """Check at the end of a pass that the file was read to its end and did not change.

        Raises:
            StorageError: the connection broke (libav reports some of these failures as the end of the file), or the object was replaced.
        """
        if self.file is not None:
            self.file.check()
            if self.file.failure is not None:
                raise self.file.failure


@contextmanager
def open_media(uri: str) -> Iterator[Source]:
    """Open a video or audio file for one pass; remote files are read in ranges.

    Args:
        uri: A local path, ``file://``, ``s3://`` or another URI that pyarrow understands.

    Raises:
        MissingError: there is no such file.
        StorageError: the store or the disk cannot be read.
        MemoryError: this process is short of memory.
        ItemError: libav does not recognize its container.
    """
    file = RemoteFile(uri) if is_remote(uri) else None
    try:
        if file is not None and file.size == 0:
            raise ItemError("the file is empty")
        target = checked_path(uri) if file is None else file
        try:
            container = av.open(target, "r", metadata_errors="replace")
        except (FFmpegError, OSError, ValueError) as error:
            raise _classify(uri, file, error, "not a video or audio file that libav can read", None) from error
        with container:
            yield Source(uri, container, file)
    finally:
        if file is not None:
            file.close()


def checked_path(uri: str) -> str:
    """The absolute path of a local file that exists and is not empty.

    Raises:
        MissingError: there is no such file.
        ItemError: it is empty.
    """
    path = Path(uri.removeprefix("file://"))
    if not path.is_file():
        raise MissingError(f"{path}: there is no such file; check the path (relative paths start at the working folder)")
    if path.stat().st_size == 0:
        raise ItemError("the file is empty")
    return str(path.absolute())


def _classify(uri: str, file: RemoteFile | None, cause: Exception, reason: str, last_frame: int | None) -> AbawError | MemoryError:
    """The error class of the cause: connection, memory, disk, or content of the item."""
    if file is not None:
        file.check()
        if file.failure is not None:
            return file.failure
    message = getattr(cause, "strerror", None) or " ".join(str(cause).split())
    details = "" if message.startswith("Error number ") else f" ({message})"  # libav's text for a number without a text
    number = getattr(cause, "errno", None)
    if memory_is_short():  # checked first: a lack of memory may look like damage, and a damaged file may request much memory
        return MemoryError(f"{uri}: {message}")
    if number in _IO_ERRORS:
        return StorageError(f"{uri}: {message}; check its disk or network share, then run the command again")
    return ItemError(f"no permission to read the file ({message})" if number in (errno.EACCES, errno.EPERM) else f"{reason}{details}", last_frame)
