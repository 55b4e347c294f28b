import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.data.config import DataConfig
from abaw_ray.data.still_images.read import read_still_images, source_names


@pytest.fixture
def data(files):
    """One image of each split in every data set; AffectNet and the user's folder number the classes differently."""
    for split in ("train", "val"):
        files.put(f"affectnet/{split}/0/a.png")
        files.put(f"mine/{split}/0/b.png")
        files.put(f"mine/{split}/contempt/c.png")
    for number in range(1, 8):
        files.put(f"rafdb/{number}/train_{number}.jpg")
        files.put(f"rafdb/{number}/test_{number}.jpg")
    votes = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    rows = ["Training,a.png,10,0,0,0,0,0,0,0,0,0", "PublicTest,b.png,0,0,0,0,0,0,0,10,0,0"]
    files.put("ferplus/fer2013new.csv", "\n".join([f"Usage,Image name,{votes}", *rows]))
    files.put("ferplus/FER2013Train/a.png")
    files.put("expw/label.lst", "x.jpg 0 0 0 9 9 50.0 3\ny.jpg 0 0 0 9 9 50.0 4\n")
    files.put("expw/origin/x.jpg")
    roots = {name: str(files.root / name) for name in ("affectnet", "rafdb", "ferplus", "expw")}
    return DataConfig(**roots, image_folders=(str(files.root / "mine"),), class_map=("affectnet/0=Neutral", "0=Anger"))


def test_all_data_sets_are_read_in_one_order_with_their_own_classes(data):
    images = read_still_images(data)
    assert [(image.source, image.split) for image in images] == sorted((image.source, image.split) for image in images)
    assert {image.source for image in images} == set(source_names(data)) == {"affectnet", "rafdb", "ferplus", "expw", "mine"}
    assert len({image.name for image in images}) == len(images) == 2 + 14 + 2 + 2 + 4
    assert [image.expression for image in images if image.source in ("affectnet", "mine") and image.split == "val"] == [
        "Neutral",
        "Anger",
        "Contempt",
    ]


def test_contempt_is_handled_alike_in_every_data_set(data):
    def others(contempt):
        images = read_still_images(DataConfig(ferplus=data.ferplus, image_folders=data.image_folders, class_map=("0=Anger",), contempt=contempt))
        return [(image.source, image.expression) for image in images if image.expression in ("Contempt", "Other")]

    assert others("other") == [("ferplus", "Other"), ("mine", "Other"), ("mine", "Other")]
    assert others("drop") == []


def test_an_entry_of_the_class_map_that_names_no_folder_is_refused(data):
    with pytest.raises(ConfigError, match="no data set has a class folder 'affectnet/0'"):
        read_still_images(DataConfig(rafdb=data.rafdb, image_folders=data.image_folders, class_map=data.class_map))


def test_without_data_sets_there_are_no_images_and_the_synthetic_data_set_has_two():
    assert read_still_images(DataConfig()) == [] and source_names(DataConfig()) == ()
    assert source_names(DataConfig(use_synthetic=True)) == ("affectnet", "rafdb")


@pytest.mark.parametrize("field", ["val_fraction", "ferplus_min_agreement"])
def test_fractions_out_of_range_are_refused(field):
    with pytest.raises(ConfigError, match=rf"data\.{field}=1\.0 must be"):
        DataConfig(**{field: 1.0})
