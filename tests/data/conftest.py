"""Small trees in the layouts of the data sets. Their videos are placeholders, because no test here decodes them."""

import pytest

HEADER = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"


class Files:
    """Writes files below one folder."""

    def __init__(self, root):
        self.root = root

    def put(self, path, content="video"):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def annotate(self, name, labels=(0, 1, -1), split="Train_Set", root="8th_ABAW_Annotations"):
        return self.put(f"{root}/EXPR_Recognition_Challenge/{split}/{name}.txt", "\n".join([HEADER, *map(str, labels)]) + "\n")


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path / "data")


@pytest.fixture
def aff(files):
    """Two plain train videos, a pair, an irregular pair, a validation part of a train recording, two test names."""
    for name in ("12", "video45_3", "135-24-1920x1080_right", "28-30-1280x720-1", "10-60-1280x720", "10-60-1280x720_right"):
        files.annotate(name)
    for name in ("135-24-1920x1080_left", "28-30-1280x720-2", "200"):
        files.annotate(name, split="Validation_Set")
    for path in ("batch1/12.mp4", "batch2/video45_3.avi", "videos/135-24-1920x1080.mp4", "batch1/28-30-1280x720-1.mp4"):
        files.put(path)
    for path in ("new_vids/28-30-1280x720-2.avi", "batch3/10-60-1280x720.MP4", "batch1/200.mp4", "batch1/300.mp4", "batch1/video2.mp4"):
        files.put(path)
    files.put("EXPR_test_release.txt", "300\nvideo2_left\n")
    files.put("EXPR_test_example.txt", f"image_location,{HEADER}\n300/00001.jpg,\n300/00002.jpg,0\nvideo2_left/00001.jpg,\n")
    return files
