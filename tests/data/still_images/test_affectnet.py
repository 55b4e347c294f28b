import io

import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.data.still_images.affectnet import read_affectnet
from abaw_ray.data.still_images.class_map import ClassMap
from abaw_ray.data.stills import apply_contempt

COLUMNS = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def npy(value):
    sink = io.BytesIO()
    np.save(sink, np.array(value))
    return sink.getvalue()


@pytest.fixture
def original(files):
    rows = ["1/a.jpg,10,20,100,110,1.0;2.0,1,0.5,0.1", "1/b.jpg,0,0,50,50,,6,0,0", "2/c.jpg,0,0,50,50,,8,-2,-2", "2/d.jpg,NULL,NULL,NULL,NULL,,3,0,0"]
    files.put("training.csv", "\n".join([COLUMNS, *rows, "2/e.jpg,5,5,-1,20,,2,0,0", "2/f.jpg,0,0,50,50,,7,0,0"]) + "\n")
    files.put("validation.csv", f"{COLUMNS}\n3/g.jpg,1,2,3,4,,4,0,0\n3/h.jpg,0,0,9,9,,10,-2,-2\n")
    files.put("Manually_Annotated_Images/1/a.jpg", "jpeg")
    return files


def test_the_original_layout_gives_names_boxes_and_splits_and_excludes_rows_without_expression_or_face(original):
    images = read_affectnet(original.root)
    assert [(image.name, image.expression, image.split, image.box) for image in images] == [
        ("affectnet/Manually_Annotated_Images/1/a.jpg", "Happiness", "train", (10, 20, 110, 130)),
        ("affectnet/Manually_Annotated_Images/1/b.jpg", "Anger", "train", (0, 0, 50, 50)),
        ("affectnet/Manually_Annotated_Images/2/f.jpg", "Contempt", "train", (0, 0, 50, 50)),
        ("affectnet/Manually_Annotated_Images/3/g.jpg", "Fear", "val", (1, 2, 4, 6)),
    ]
    assert images[0].path == str(original.root / "Manually_Annotated_Images/1/a.jpg") and images[0].source == "affectnet"


@pytest.mark.usefixtures("unchecked_annotations")
def test_contempt_is_kept_dropped_or_relabelled_by_the_setting(original):
    images = read_affectnet(original.root)
    assert [image.expression for image in apply_contempt(images, "other")] == ["Happiness", "Anger", "Other", "Fear"]
    assert [image.expression for image in apply_contempt(images, "drop")] == ["Happiness", "Anger", "Fear"]
    with pytest.raises(ConfigError, match="contempt='keep' is unknown"):
        apply_contempt(images, "keep")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{COLUMNS}\n1/a.jpg,0,0,5,5,,1,0,0\n1/b.jpg,0,0,5,5,,11,0,0\n", r"training\.csv:3: expression is 11"),
        (f"{COLUMNS}\n1/b.jpg,0,0,5,5,,,0,0\n", r"training\.csv:2: expression is nan"),
        (f"{COLUMNS}\n1/b.jpg,0,0,5,5,,happy,0,0\n", r"training\.csv: .*expression"),
        ("path,expression\na,1\n", r"training\.csv: .*subDirectory_filePath"),
    ],
)
def test_an_invalid_list_raises_an_error_with_file_and_line(original, text, message):
    original.put("training.csv", text)
    with pytest.raises(DataError, match=message):
        read_affectnet(original.root)


def test_lists_without_their_image_folder_raise_an_error(original):
    (original.root / "Manually_Annotated_Images/1/a.jpg").unlink()
    (original.root / "Manually_Annotated_Images/1").rmdir()
    (original.root / "Manually_Annotated_Images").rmdir()
    with pytest.raises(DataError, match="Manually_Annotated_Images: no such folder"):
        read_affectnet(original.root)


def test_the_re_release_has_one_class_id_per_image_as_number_or_as_text(files):
    for split, ids in {"train_set": {"0": "1", "7": 7, "12": "8"}, "val_set": {"3": 0}}.items():
        for name, value in ids.items():
            files.put(f"{split}/annotations/{name}_exp.npy", npy(value))
            files.put(f"{split}/annotations/{name}_val.npy", npy(0.5))
            files.put(f"{split}/images/{name}.jpg", "jpeg")
    found = [(image.name, image.expression, image.split, image.box) for image in read_affectnet(files.root)]
    assert found == [
        ("affectnet/train_set/images/0.jpg", "Happiness", "train", None),
        ("affectnet/train_set/images/7.jpg", "Contempt", "train", None),
        ("affectnet/val_set/images/3.jpg", "Neutral", "val", None),
    ]


@pytest.mark.parametrize(("content", "message"), [(b"cut", "not one number"), (npy(12), "expression is 12"), (npy([1, 2]), "not one number")])
def test_an_invalid_class_id_of_the_re_release_raises_an_error_with_the_file(files, content, message):
    files.put("train_set/annotations/5_exp.npy", content)
    with pytest.raises(DataError, match=rf"5_exp\.npy: {message}"):
        read_affectnet(files.root)


def test_folders_named_after_expressions_need_no_class_map_and_numbered_ones_do(files):
    for split in ("train", "val"):
        for name in ("Happy", "anger", "contempt"):
            files.put(f"{split}/{name}/x.png", "png")
    assert [image.expression for image in read_affectnet(files.root)] == ["Happiness", "Anger", "Contempt"] * 2
    files.put("train/0/y.jpg", "jpeg")
    with pytest.raises(ConfigError, match=r"train: unknown class of the folders 0: .*--data\.class-map 0=Neutral \(or affectnet/0=Neutral"):
        read_affectnet(files.root)


def test_numbered_folders_follow_the_class_map(files):
    for split in ("train", "valid"):
        for name in ("0", "1", "2"):
            files.put(f"{split}/{name}/x.jpg", "jpeg")
    images = read_affectnet(files.root, class_map=ClassMap(["0=Anger", "1=drop", "affectnet/2=Neutral"]))
    assert [(image.expression, image.split) for image in images] == [("Anger", "train"), ("Neutral", "train"), ("Anger", "val"), ("Neutral", "val")]


def test_a_folder_without_an_affectnet_layout_raises_an_error_with_the_expected_files(files):
    files.put("pictures/1.jpg")
    with pytest.raises(DataError, match="no AffectNet layout found"):
        read_affectnet(files.root)
