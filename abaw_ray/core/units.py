"""Units of memory: settings are in GiB, Ray and the operating system count bytes."""


def gib(count: float) -> int:
    """Bytes of ``count`` GiB (2^30 bytes each), rounded down."""
    return int(count * 2**30)
