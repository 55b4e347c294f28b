"""The same settings with another seed."""

from dataclasses import replace
from typing import TypeVar

from abaw_ray.cluster.launch.config import SweepJob

_ConfigT = TypeVar("_ConfigT", bound=SweepJob)


def with_seed(config: _ConfigT, seed: int) -> _ConfigT:
    """The settings with another seed of initial weights, batches, folds and candidates.

    Synthetic data are generated with the seed, too; they and all results then have a folder of their own, ``<storage.uri>-seeds/<seed>``.
    """
    config = replace(
        config,
        encoder=replace(config.encoder, seed=seed),
        sweep=replace(config.sweep, seed=seed, fusion=replace(config.sweep.fusion, seed=seed)),
    )
    if not config.data.use_synthetic:
        return config
    root = f"{config.storage.uri}-seeds/{seed}"
    return replace(
        config,
        storage=replace(config.storage, uri=root),
        data=replace(config.data, synthetic_dir=f"{root}/data", synthetic=replace(config.data.synthetic, seed=seed)),
    )
