"""A URI -> an open libav container, with the ways in which reading fails told apart; which streams are decoded is for the neighbours.

A missing file is the user's mistake (``MissingError``), a broken connection or disk may be whole next time (``StorageError``), so may
be a process short of memory (``MemoryError``); content that is no video stays broken (``ItemError``). libav itself reports a connection
lost in mid-file as invalid data, and often a lack of memory too, so both are watched here.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from abaw_ray.core.errors import AbawError, ItemError, MissingError, StorageError
from abaw_ray.core.process.child import memory_is_short
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.media.remote import RemoteFile

_DISK = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.EREMOTEIO, errno.ESTALE, errno.ENOLINK}
_NETWORK = {errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH}
_PEER = {errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED}
_MACHINE = _DISK | _NETWORK | _PEER | {errno.EMFILE, errno.ENFILE}
"""What a disk, a mounted share or the process says, never a video."""


class Source:
    """An open container and, for a remote one, the file behind it."""

    def __init__(self, uri: str, container: av.container.InputContainer, file: RemoteFile | None) -> None:
        self.uri, self.container, self.file = uri, container, file

    def error(self, cause: Exception, reason: str, last_frame: int | None = None) -> AbawError | MemoryError:
        """The error to raise for what libav reported: the connection's, disk's or memory's where that failed, else the item's with this reason."""
        return _blame(self.uri, self.file, cause, reason, last_frame)

    def packets(self, stream: av.VideoStream | av.AudioStream) -> Iterator[av.Packet]:
        """Packets of one stream from where the container stands to its end, and an empty one last, which has the decoder give what it holds.

        PyAV's own last ones are left aside: there is none where libav came upon more streams on the way, as in a broadcast it may.
        """
        packets = self.container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except IndexError:  # PyAV looks for these streams in its list of those at the beginning, but not before the end
                packet = None
            if packet is None:
                break
            if packet.size:
                yield packet
        last = av.Packet(0)
        last.stream, last.time_base = stream, stream.time_base
        yield last

    @property
    def lost(self) -> bool:
        """Whether the connection broke."""
        return self.file is not None and self.file.broke is not None

    def check(self) -> None:
        """At the end of a pass: what was read of the file is what is in it, and it was one file all the time.

        Raises:
            StorageError: the connection broke (libav takes some of these for the end of the file), or the object was replaced.
        """
        if self.file is not None:
            self.file.check()
            if self.file.broke is not None:
                raise self.file.broke


@contextmanager
def opened(uri: str) -> Iterator[Source]:
    """Open a video or sound file for one pass; remote files are read by range.

    Args:
        uri: A local path, ``file://``, ``s3://`` or whatever else pyarrow reads.

    Raises:
        MissingError: there is no such file.
        StorageError: the store, or the disk, cannot be read.
        MemoryError: this process has no more.
        ItemError: libav finds no container that it knows in it.
    """
    file = RemoteFile(uri) if is_remote(uri) else None
    try:
        if file is not None and file.size == 0:
            raise ItemError("the file is empty")
        target = _local(uri) if file is None else file
        try:
            container = av.open(target, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            raise _blame(uri, file, error, "not a video or sound file that libav can read", None) from error
        with container:
            yield Source(uri, container, file)
    finally:
        if file is not None:
            file.close()


def _local(uri: str) -> str:
    path = Path(uri.removeprefix("file://"))
    if not path.is_file():
        raise MissingError(f"{path}: there is no such file; check the path, relative ones begin at the working folder")
    if path.stat().st_size == 0:
        raise ItemError("the file is empty")
    return str(path.absolute())


def _blame(uri: str, file: RemoteFile | None, cause: Exception, reason: str, last_frame: int | None) -> AbawError | MemoryError:
    """Whose fault it was: the connection's, the machine's, or the item's."""
    if file is not None:
        file.check()
        if file.broke is not None:
            return file.broke
    words = getattr(cause, "strerror", None) or " ".join(str(cause).split())
    number = getattr(cause, "errno", None)
    if memory_is_short():  # no more to go by: damaged files ask for more than any machine has, and a lack of it may look like damage
        return MemoryError(f"{uri}: {words}")
    if number in _MACHINE:
        return StorageError(f"{uri}: {words}; see the disk or the share that it is on, then run it again")
    return ItemError(f"it may not be read ({words})" if number in (errno.EACCES, errno.EPERM) else f"{reason} ({words})", last_frame)
