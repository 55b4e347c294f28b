"""Selection of held-out validation images for data sets without a split of their own."""

from collections.abc import Iterable

from abaw_ray.core.settings import digest


def hold_out(groups: Iterable[str], fraction: float, seed: int) -> set[str]:
    """The groups that are held out for validation: at least one, and never all.

    A group is held out as a whole. The choice depends on the names and the seed alone, and a new group moves at most one other to the other split.

    Args:
        groups: Names of the groups, such as the file of an image; repetitions count once.
        fraction: Fraction of the groups to hold out.
        seed: Selects other groups.
    """
    ordered = sorted(set(groups), key=lambda group: digest([seed, group]))
    count = max(1, round(len(ordered) * fraction))
    return set(ordered[: min(count, len(ordered) - 1)])
