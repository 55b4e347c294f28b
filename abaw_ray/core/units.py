"""Units of memory and time: settings are in GiB, Ray and the operating system count bytes; texts for people are in decimal units."""

_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_DURATIONS = ((3600.0, "h"), (60.0, "min"))


def gib(count: float) -> int:
    """Bytes of ``count`` GiB (2^30 bytes each), rounded down."""
    return int(count * 2**30)


def size_text(count: float) -> str:
    """A number of bytes for people: ``12.3 GB``, ``410 MB``."""
    return _in_unit(count, _SIZES) or f"{count:.0f} bytes"


def duration_text(seconds: float) -> str:
    """A duration for people: ``3.1 h``, ``12 min``, ``0.5 s``."""
    return _in_unit(seconds, _DURATIONS) or (f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s")


def _in_unit(value: float, units: tuple[tuple[float, str], ...]) -> str:
    """The value with one decimal below 100, in the largest unit of which it has one; empty where it has none."""
    for size, name in units:
        if value >= size:
            count = value / size
            return f"{count:,.1f} {name}" if count < 100 else f"{count:,.0f} {name}"
    return ""
