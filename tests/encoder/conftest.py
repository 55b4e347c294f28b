"""Image sets of synthetic images, and settings of their training."""

import pytest
from synthetic_images import CONFIG, synthetic_table

from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.images import open_image_set


@pytest.fixture(scope="session")
def config():
    return CONFIG


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """Builds sets of 300 training and 45 validation images, with true or shuffled training labels."""

    def build(shuffled=False):
        folder = tmp_path_factory.mktemp("images")
        storage = Storage(StorageConfig(uri=str(folder / "store")))
        storage.write_table("train.parquet", synthetic_table(300, split="train", seed=1, shuffled=shuffled))
        storage.write_table("val.parquet", synthetic_table(45, split="val", seed=2))
        return open_image_set(storage, ["train.parquet", "val.parquet"], folder)

    return build


@pytest.fixture(scope="session")
def images(many):
    return many()
