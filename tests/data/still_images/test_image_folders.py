from collections import Counter

import pytest

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.data.still_images.class_map import ClassMap
from abaw_ray.data.still_images.image_folders import name_folders, read_image_folder


@pytest.mark.parametrize("val", ["val", "valid", "validation", "test"])
def test_folders_of_the_splits_give_the_splits(files, val):
    files.put("train/Happy/session 1/a.JPG")
    files.put("train/Happy/notes.txt")
    files.put(f"{val}/Other/b.webp")
    found = [(image.name, image.expression, image.split, image.box, image.source) for image in read_image_folder(files.root, "mine")]
    assert found == [
        ("mine/train/Happy/session 1/a.JPG", "Happiness", "train", None, "mine"),
        (f"mine/{val}/Other/b.webp", "Other", "val", None, "mine"),
    ]


def test_without_folders_of_splits_a_fraction_of_each_class_is_held_out(files):
    for number in range(40):
        files.put(f"anger/{number}.png")
    for number in range(10):
        files.put(f"1/{number}.png")
    files.put("readme.png")
    images = read_image_folder(files.root, "mine", class_map=ClassMap(["1=Fear"]), val_fraction=0.2)
    assert Counter((image.expression, image.split) for image in images) == {
        ("Anger", "val"): 8,
        ("Anger", "train"): 32,
        ("Fear", "val"): 2,
        ("Fear", "train"): 8,
    }


def test_held_out_images_stay_held_out_when_images_are_added_and_change_with_the_seed(files):
    def held_out(seed=0):
        return {image.name for image in read_image_folder(files.root, "mine", val_fraction=0.2, val_seed=seed) if image.split == "val"}

    for number in range(40):
        files.put(f"anger/{number}.png")
    before = held_out()
    assert held_out(seed=1) != before
    files.put("anger/new.png")
    assert len(before - held_out()) <= 1


def test_a_class_of_one_image_is_used_for_training(files):
    files.put("anger/a.png")
    assert [image.split for image in read_image_folder(files.root, "mine", val_fraction=0.9)] == ["train"]


def test_a_missing_folder_a_missing_split_and_folders_without_images_raise_errors(files):
    with pytest.raises(DataError, match="no such folder"):
        read_image_folder(files.root, "mine")
    files.put("train/anger/a.png")
    with pytest.raises(DataError, match="no folder val or valid"):
        read_image_folder(files.root, "mine")
    files.put("other/anger/a.txt")
    with pytest.raises(DataError, match="no image in a class folder"):
        read_image_folder(files.root / "other", "mine")


def test_the_name_of_a_data_set_is_that_of_its_folder_and_must_be_its_own():
    assert name_folders(["/data/mine/", "s3://bucket/yours"], ["rafdb"]) == {"mine": "/data/mine/", "yours": "s3://bucket/yours"}
    for roots in (["/a/mine", "/b/mine"], ["/a/rafdb"]):
        with pytest.raises(ConfigError, match=r"data\.image_folders: .*another data set has the name"):
            name_folders(roots, ["rafdb"])
    with pytest.raises(ConfigError, match="ends in no name"):
        name_folders(["."], [])
