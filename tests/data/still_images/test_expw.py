import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.data.still_images.expw import read_expw

LINES = [
    "angry_actor_104.jpg 0 28 113 226 141 22.9362 0",
    "angry_actor_120.jpg 0 49 66 200 183 53.1 6",
    "angry_actor_120.jpg 1 10 5 40 35 43.0 3",
    "angry_actor_120.jpg 1 10 5 40 35 43.0 3",
    "fear face.jpg 0 1 2 3 4 80.0 2",
]


@pytest.mark.parametrize(
    ("path", "folder"), [("label.lst", "origin"), ("label/label.lst", "image/origin"), ("data/label/label.lst", "data/image/origin")]
)
def test_every_labelled_face_is_an_image_with_its_box_and_an_expression_by_name(files, path, folder):
    files.put(path, "\n".join(LINES) + "\n")
    files.put(f"{folder}/angry_actor_104.jpg")
    images = read_expw(files.root)
    assert [(image.name, image.expression, image.box) for image in images] == [
        (f"expw/{folder}/angry_actor_104.jpg#0", "Anger", (113, 28, 226, 141)),
        (f"expw/{folder}/angry_actor_120.jpg#0", "Neutral", (66, 49, 200, 183)),
        (f"expw/{folder}/angry_actor_120.jpg#1", "Happiness", (5, 10, 40, 35)),
        (f"expw/{folder}/fear face.jpg#0", "Fear", (2, 1, 3, 4)),
    ]
    assert images[3].path == str(files.root / folder / "fear face.jpg") and images[0].source == "expw"


def test_all_faces_of_an_image_are_in_the_same_split_whatever_the_order_of_the_lines(files):
    lines = [f"{number % 50}.jpg {number // 50} 0 0 9 9 50.0 {number % 7}" for number in range(200)]
    files.put("origin/0.jpg")
    splits = []
    for order in (lines, lines[::-1]):
        files.put("label.lst", "\n".join(order))
        images = read_expw(files.root, val_fraction=0.2, val_seed=3)
        splits.append({image.path: image.split for image in images})
        assert all(splits[-1][image.path] == image.split for image in images)
    assert splits[0] == splits[1]
    assert sum(split == "val" for split in splits[0].values()) == 10
    assert splits[0] != {image.path: image.split for image in read_expw(files.root, val_fraction=0.2, val_seed=4)}


@pytest.mark.parametrize("line", ["a.jpg 0 1 2 3 4 50.0 7", "a.jpg 0 1 2 3 4 50.0 happy", "a.jpg 1 2 3 4 50.0 1", "a.jpg 0 x 2 3 4 50.0 1"])
def test_an_invalid_line_raises_an_error_with_file_and_line(files, line):
    files.put("origin/a.jpg")
    files.put("label.lst", f"{LINES[0]}\n{line}\n")
    with pytest.raises(DataError, match=r"label\.lst:2: 'a\.jpg .* is not <image> <face id> <top> <left>"):
        read_expw(files.root)


def test_a_missing_list_missing_images_and_an_empty_list_raise_errors(files):
    files.put("origin/a.jpg")
    with pytest.raises(DataError, match=r"no list of ExpW found; expected label\.lst"):
        read_expw(files.root)
    files.put("label.lst", "\n")
    with pytest.raises(DataError, match="no faces listed"):
        read_expw(files.root)
    (files.root / "origin/a.jpg").unlink()
    (files.root / "origin").rmdir()
    with pytest.raises(DataError, match="no folder with images of ExpW found; expected origin"):
        read_expw(files.root)
