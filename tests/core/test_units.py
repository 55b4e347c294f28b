import pytest

from abaw_ray.core.units import duration_text, gib, size_text


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 1 << 30), (1.5, 3 << 29), (0.3, 322122547)])
def test_gib_gives_whole_bytes(count, size):
    assert gib(count) == size and isinstance(gib(count), int)


@pytest.mark.parametrize(("count", "text"), [(5, "5 bytes"), (84_500, "84.5 kB"), (2.7e7, "27.0 MB"), (4.1e11, "410 GB"), (5.4e12, "5.4 TB")])
def test_sizes_for_people_are_in_decimal_units(count, text):
    assert size_text(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.04 s"), (9.5, "9.5 s"), (42, "42 s"), (90, "1.5 min"), (11_160, "3.1 h"), (1.8e6, "500 h")])
def test_durations_for_people_are_in_the_largest_unit(seconds, text):
    assert duration_text(seconds) == text
