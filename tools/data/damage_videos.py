"""Makes damaged copies of the videos in a folder, to test decoders. The same arguments give the same files.

python -m tools.data.damage_videos clips damaged --count 200 --seed 0
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tyro

from abaw_ray.core.errors import AbawError, DataError

HEADER_SIZE = 4096
"""Bytes at the beginning that count as a file's header, at most an eighth of the file."""
MIN_SIZE = 64
"""Smaller files are skipped; in bytes."""
EXTENSIONS = (".mp4", ".mkv", ".avi", ".mov", ".ts", ".webm", ".txt")

Damage = Callable[[np.random.Generator, bytes, bytes], bytes]
"""Generator, bytes of a file, bytes of another file -> damaged bytes."""


def damage(source: Path, target: Path, *, count: int, seed: int) -> list[Path]:
    """Write damaged copies.

    Args:
        source: A folder. Its files are used in turn, in order of their names; subfolders are ignored.
        target: A folder; created if missing.
        count: Number of copies.
        seed: Seed of the positions and values.

    Returns:
        The copies: ``<number>_<kind of damage>_<name of the source>``; kind ``misnamed`` has another extension.

    Raises:
        DataError: there is no usable file in ``source``.
    """
    files = sorted(path for path in source.iterdir() if path.is_file() and path.stat().st_size >= MIN_SIZE) if source.is_dir() else []
    if not files:
        raise DataError(f"{source}: there is no file of {MIN_SIZE} bytes or more; name a folder of videos")
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kind = list(DAMAGES)[number % len(DAMAGES)]
        path, other = files[number // len(DAMAGES) % len(files)], files[rng.integers(len(files))]
        extension = rng.choice([name for name in EXTENSIONS if name != path.suffix]) if kind == "misnamed" else path.suffix
        copy = target / f"{number:04d}_{kind}_{path.stem}{extension}"
        copy.write_bytes(DAMAGES[kind](rng, path.read_bytes(), other.read_bytes()))
        written.append(copy)
    return written


def _header_size(data: bytes) -> int:
    return min(HEADER_SIZE, len(data) // 8)


def _flip(rng: np.random.Generator, data: bytes, count: int, start: int, stop: int) -> bytes:
    """Return the data with up to ``count`` bytes between two positions changed to other values."""
    damaged = np.frombuffer(data, np.uint8).copy()
    positions = rng.integers(start, max(stop, start + 1), size=count)[: len(data)]
    damaged[positions] ^= rng.integers(1, 256, size=len(positions), dtype=np.uint8)
    return damaged.tobytes()


def _random_range(rng: np.random.Generator, data: bytes) -> tuple[int, int]:
    """Return start and stop of a range of up to a fifth of the file."""
    start = int(rng.integers(len(data)))
    return start, min(start + 1 + int(rng.integers(len(data) // 5 + 1)), len(data))


def flip_few(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Change up to eight bytes."""
    return _flip(rng, data, int(rng.integers(1, 9)), 0, len(data))


def flip_many(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Change up to one byte in fifty after the header."""
    return _flip(rng, data, int(rng.integers(len(data) // 1000, len(data) // 50) + 1), _header_size(data), len(data))


def flip_head(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Change up to eight bytes of the header."""
    return _flip(rng, data, int(rng.integers(1, 9)), 0, _header_size(data))


def flip_tail(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Change up to eight bytes at the end, where many containers have their index."""
    return _flip(rng, data, int(rng.integers(1, 9)), len(data) - _header_size(data), len(data))


def cut_short(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Keep only the beginning."""
    return data[: int(rng.integers(1, len(data)))]


def beheaded(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Keep only the end."""
    return data[int(rng.integers(1, len(data))) :]


def zeroed(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Replace a range by zeros, as a disk with a lost block does."""
    start, stop = _random_range(rng, data)
    return data[:start] + bytes(stop - start) + data[stop:]


def removed(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Remove a range."""
    start, stop = _random_range(rng, data)
    return data[:start] + data[stop:]


def doubled(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Duplicate a range."""
    start, stop = _random_range(rng, data)
    return data[:stop] + data[start:]


def mixed(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Combine the header of another file with this file's body."""
    at = int(rng.integers(1, _header_size(data) + 2))
    return other[:at] + data[at:]


def misnamed(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Keep the data; the name gets another extension."""
    return data


def empty(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Return no data."""
    return b""


def text(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Return an HTML error page."""
    return b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n" * int(rng.integers(1, 50))


def noise(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """Return random bytes."""
    return rng.bytes(len(data))


DAMAGES: dict[str, Damage] = {
    function.__name__.replace("_", "-"): function
    for function in (flip_few, flip_many, flip_head, flip_tail, cut_short, beheaded, zeroed, removed, doubled, mixed, misnamed, empty, text, noise)
}


def main(source: tyro.conf.Positional[Path], target: tyro.conf.Positional[Path], count: int = 200, seed: int = 0) -> int:
    """Write damaged copies of the videos in a folder.

    Args:
        source: A folder of videos.
        target: A folder for the copies.
        count: Number of copies.
        seed: Seed of the damage.
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
