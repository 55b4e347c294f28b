"""All still images of the user's data sets -> ``StillImage`` objects: the readers by setting."""

from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.config import DataConfig
from abaw_ray.data.still_images.affectnet import read_affectnet
from abaw_ray.data.still_images.class_map import ClassMap
from abaw_ray.data.still_images.expw import read_expw
from abaw_ray.data.still_images.ferplus import read_ferplus
from abaw_ray.data.still_images.image_folders import name_folders, read_image_folder
from abaw_ray.data.still_images.rafdb import read_rafdb
from abaw_ray.data.stills import StillImage, apply_contempt

_DATA_SETS = ("affectnet", "rafdb", "ferplus", "expw")
"""Data sets with a setting and a source of the same name."""


def source_names(data: DataConfig) -> tuple[str, ...]:
    """Names of the data sets of still images that these settings use, as in ``StillImage.source``.

    Raises:
        ConfigError: two data sets have the same name.
    """
    if data.use_synthetic:
        return ("affectnet", "rafdb")
    return (*(name for name in _DATA_SETS if getattr(data, name)), *name_folders(data.image_folders, _DATA_SETS))


def read_still_images(data: DataConfig, storage: StorageConfig | None = None) -> list[StillImage]:
    """All usable images, sorted by data set, split and name; empty where no data set is given.

    Raises:
        ConfigError: a class folder whose expression is unknown, or an entry of the class map that names none.
        DataError: a data set has no known layout, or an invalid list.
    """
    class_map, images = ClassMap(data.class_map), list[StillImage]()
    if data.affectnet:
        images += read_affectnet(data.affectnet, class_map=class_map, storage=storage)
    if data.rafdb:
        images += read_rafdb(data.rafdb, storage=storage)
    if data.ferplus:
        images += read_ferplus(data.ferplus, min_agreement=data.ferplus_min_agreement, storage=storage)
    if data.expw:
        images += read_expw(data.expw, val_fraction=data.val_fraction, val_seed=data.val_seed, storage=storage)
    for name, root in name_folders(data.image_folders, _DATA_SETS).items():
        images += read_image_folder(root, name, class_map=class_map, val_fraction=data.val_fraction, val_seed=data.val_seed, storage=storage)
    class_map.check_used()
    return sorted(apply_contempt(images, data.contempt), key=lambda image: (image.source, image.split, image.name))
