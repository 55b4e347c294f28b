"""Makes damaged copies of the videos in a folder, to try out what reads them. The same arguments give the same files.

python -m tools.data.damage_videos clips damaged --count 200 --seed 0
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro

from abaw_ray.core.errors import AbawError, DataError

HEAD = 4096
"""Bytes at the beginning that count as a file's header; an eighth of it where that is less."""
SMALLEST = 64
"""Bytes: smaller files are passed over, there is nothing to damage."""
EXTENSIONS = (".mp4", ".mkv", ".avi", ".mov", ".ts", ".webm", ".txt")

Harm = Callable[[np.random.Generator, bytes, bytes], bytes]
"""From a file's bytes and those of another file to the damaged ones."""


def damage(source: Path, target: Path, *, count: int, seed: int) -> list[Path]:
    """Write damaged copies.

    Args:
        source: A folder; every file in it is taken in turn, in order of names; what lies in its folders is not.
        target: A folder, made if need be.
        count: How many copies.
        seed: Of what is done where.

    Returns:
        The copies: ``<number>_<what was done>_<name of the source>``, with another extension where that was done.

    Raises:
        DataError: there is no file in ``source``.

    Source: ours.
    """
    files = sorted(path for path in source.iterdir() if path.is_file() and path.stat().st_size >= SMALLEST) if source.is_dir() else []
    if not files:
        raise DataError(f"{source}: there is no file of {SMALLEST} bytes or more in it; give a folder of videos")
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kind = list(HARMS)[number % len(HARMS)]
        path, other = files[number // len(HARMS) % len(files)], files[rng.integers(len(files))]
        extension = rng.choice([name for name in EXTENSIONS if name != path.suffix]) if kind == "misnamed" else path.suffix
        copy = target / f"{number:04d}_{kind}_{path.stem}{extension}"
        copy.write_bytes(HARMS[kind](rng, path.read_bytes(), other.read_bytes()))
        written.append(copy)
    return written


def _head(data: bytes) -> int:
    return min(HEAD, len(data) // 8)


def _flipped(rng: np.random.Generator, data: bytes, count: int, begin: int, end: int) -> bytes:
    """With so many bytes between two places, or fewer, changed to any other value."""
    harmed = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(begin, max(end, begin + 1), size=count)[: len(data)]
    harmed[places] ^= rng.integers(1, 256, size=len(places), dtype=np.uint8)
    return harmed.tobytes()


def _stretch(rng: np.random.Generator, data: bytes) -> tuple[int, int]:
    """Up to a fifth of a file."""
    begin = int(rng.integers(len(data)))
    return begin, min(begin + 1 + int(rng.integers(len(data) // 5 + 1)), len(data))


def flip_few(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Up to eight bytes anywhere."""
    return _flipped(rng, data, int(rng.integers(1, 9)), 0, len(data))


def flip_many(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Up to one byte in fifty, behind the header."""
    return _flipped(rng, data, int(rng.integers(len(data) // 1000, len(data) // 50) + 1), _head(data), len(data))


def flip_head(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Up to eight bytes of the header."""
    return _flipped(rng, data, int(rng.integers(1, 9)), 0, _head(data))


def flip_tail(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Up to eight bytes at the end, where many containers keep their index."""
    return _flipped(rng, data, int(rng.integers(1, 9)), len(data) - _head(data), len(data))


def cut_short(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Only the beginning is left."""
    return data[: int(rng.integers(1, len(data)))]


def beheaded(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Only the end is left."""
    return data[int(rng.integers(1, len(data))) :]


def zeroed(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A stretch of zeros, as a disk leaves it that lost a block."""
    begin, end = _stretch(rng, data)
    return data[:begin] + bytes(end - begin) + data[end:]


def removed(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A stretch is missing."""
    begin, end = _stretch(rng, data)
    return data[:begin] + data[end:]


def doubled(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """A stretch comes twice."""
    begin, end = _stretch(rng, data)
    return data[:end] + data[begin:]


def mixed(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """The header of one file on the body of another."""
    at = int(rng.integers(1, _head(data) + 2))
    return other[:at] + data[at:]


def misnamed(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Whole, but with another extension."""
    return data


def empty(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Nothing."""
    return b""


def text(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """What a server answers instead of a video."""
    return b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n" * int(rng.integers(1, 50))


def noise(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Random bytes."""
    return rng.bytes(len(data))


HARMS: dict[str, Harm] = {
    harm.__name__.replace("_", "-"): harm
    for harm in (flip_few, flip_many, flip_head, flip_tail, cut_short, beheaded, zeroed, removed, doubled, mixed, misnamed, empty, text, noise)
}


def main(source: tyro.conf.Positional[Path], target: tyro.conf.Positional[Path], count: int = 200, seed: int = 0) -> int:
    """Write damaged copies of the videos in a folder.

    Args:
        source: A folder of videos.
        target: A folder for the copies.
        count: How many.
        seed: Another one damages other places.
    """
    try:
        copies = damage(source, target, count=count, seed=seed)
    except AbawError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{target}: {len(copies)} damaged copies")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m tools.data.damage_videos"))
