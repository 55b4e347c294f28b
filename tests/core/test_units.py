import pytest

from abaw_ray.core.units import gib


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 1 << 30), (1.5, 3 << 29), (0.3, 322122547)])
def test_gib_gives_whole_bytes(count, size):
    assert gib(count) == size and isinstance(gib(count), int)
