import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.data.still_images.rafdb import read_rafdb

LABELS = "EmoLabel/list_patition_label.txt"


@pytest.mark.parametrize(("top", "root"), [("basic/", ""), ("basic/", "basic")])
def test_the_original_maps_its_numbers_by_name_and_its_test_images_are_validation(files, top, root):
    files.put(f"{top}{LABELS}", "train_00001.jpg 5\ntrain_00002.jpg 1\ntest_0001.jpg 7\n")
    images = read_rafdb(files.root / root)
    assert [(image.expression, image.split, image.box, image.source) for image in images] == [
        ("Sadness", "train", None, "rafdb"),
        ("Surprise", "train", None, "rafdb"),
        ("Neutral", "val", None, "rafdb"),
    ]
    assert images[0].path == str(files.root / "basic/Image/aligned/train_00001_aligned.jpg")


@pytest.mark.parametrize("label", ["8", "11", "0", "x", ""])
def test_labels_of_the_compound_set_are_refused_with_file_and_line(files, label):
    files.put(f"compound/{LABELS}", f"train_00001.jpg 5\ntrain_00002.jpg {label}\n")
    with pytest.raises(DataError, match=r"list_patition_label\.txt:2: .*compound"):
        read_rafdb(files.root / "compound")


def test_a_name_of_neither_set_is_refused(files):
    files.put(f"basic/{LABELS}", "00001.jpg 5\n")
    with pytest.raises(DataError, match="neither train_ nor test_"):
        read_rafdb(files.root)


def test_folders_below_train_and_test_give_the_split(files):
    for split in ("train", "test"):
        for number in range(1, 8):
            files.put(f"{split}/{number}/{split}_{number}_aligned.jpg")
    images = read_rafdb(files.root)
    assert [image.expression for image in images[:7]] == ["Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral"]
    assert [image.split for image in images] == ["train"] * 7 + ["val"] * 7


def test_bare_folders_take_the_split_from_the_names(files):
    for number in range(1, 8):
        files.put(f"{number}/train_{number}.jpg")
        files.put(f"{number}/test_{number}.jpg")
    assert [(image.name, image.split) for image in read_rafdb(files.root)[:2]] == [("rafdb/1/test_1.jpg", "val"), ("rafdb/1/train_1.jpg", "train")]


@pytest.mark.parametrize("count", [6, 11])
def test_another_number_of_folders_is_refused(files, count):
    for number in range(1, count + 1):
        files.put(f"{number}/train_{number}.jpg")
    with pytest.raises(DataError, match="exactly the folders 1 to 7"):
        read_rafdb(files.root)


def test_a_folder_without_a_rafdb_layout_raises_an_error_with_the_expected_files(files):
    files.put("pictures/1.jpg")
    with pytest.raises(DataError, match="no RAF-DB layout found"):
        read_rafdb(files.root)
