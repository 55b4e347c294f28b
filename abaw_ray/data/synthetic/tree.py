"""Drawn videos and stills -> files in exactly the layouts of Aff-Wild2, AffectNet and RAF-DB (``DATA.md``), with their traps.

Every file is drawn from its own random numbers, so any number of workers writes the same. The set is built beside its place and moved
there when it is whole; ``synthetic.json`` says with which settings.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import AFFECTNET, EXPRESSIONS, RAFDB
from abaw_ray.core.settings import digest, to_plain
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.scene import Scene
from abaw_ray.data.synthetic.script import Video, write_script
from abaw_ray.data.synthetic.stills import aligned, photograph
from abaw_ray.media.write import write_video

Progress = Callable[[int, int], None]
"""Told how many files of how many are written."""

_REVISION = 1
"""Raised when the same settings draw other files."""
_SETS = {"train": "Train_Set", "val": "Validation_Set"}
_TASK = "affwild2/8th_ABAW_Annotations/EXPR_Recognition_Challenge"
_HEADER = ",".join(EXPRESSIONS)
_BATCH = 100
"""Stills that a worker draws at a time."""
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 92]
_NO_EXPRESSION = (8, 9, 10)
"""AffectNet's None, Uncertain and Non-Face: a reader must leave them out."""


@dataclass(frozen=True)
class _Card:
    """One still image: which list it is in, what it is called, what it shows."""

    part: str
    name: str
    label: int


def write_synthetic(root: Path, config: SyntheticConfig, *, workers: int = 2, progress: Progress | None = None) -> None:
    """Write ``affwild2/``, ``affectnet/`` and ``rafdb/`` below ``root``; nothing is done where they are there already.

    Args:
        root: A folder that is not there yet, or one that holds this very set.
        config: What is drawn.
        workers: Processes that draw.
        progress: Told after each video and each batch of stills.

    Raises:
        ConfigError: the folder holds something else.
    """
    about = {"digest": digest([to_plain(config), _REVISION]), "config": to_plain(config)}
    if root.exists() and any(root.iterdir()):
        _check_same(root, about["digest"])
        return
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    cards, videos = _cards(config), write_script(config)
    _draw_all(partial, config, videos, cards, workers, progress or (lambda done, total: None))
    (partial / "synthetic.json").write_text(json.dumps(about, indent=1))
    shutil.rmtree(root, ignore_errors=True)
    os.replace(partial, root)


def _check_same(root: Path, wanted: str) -> None:
    mark = root / "synthetic.json"
    found = json.loads(mark.read_text())["digest"] if mark.exists() else None
    if found != wanted:
        what = "is not empty and holds no drawn data set" if found is None else "holds a data set drawn with other settings"
        raise ConfigError(f"{root}: {what}; name another folder (data.drawn) or remove this one")


def _draw_all(root: Path, config: SyntheticConfig, videos: list[Video], cards: list[_Card], workers: int, progress: Progress) -> None:
    batches = [cards[start : start + _BATCH] for start in range(0, len(cards), _BATCH)]
    total, done = len(videos) + len(cards), 0
    counts: dict[str, int] = {}
    boxes: dict[str, tuple[float, ...]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        jobs = {pool.submit(draw_video, root, config, video): 1 for video in videos}
        jobs |= {pool.submit(draw_stills, root, config, batch): len(batch) for batch in batches}
        for job in as_completed(jobs):
            found = job.result()
            counts |= found.get("frames", {})
            boxes |= found.get("boxes", {})
            done += jobs[job]
            progress(done, total)
    _write_release(root, videos, counts)
    _write_affectnet(root, config, cards, boxes)
    _write_rafdb(root, cards)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def draw_video(root: Path, config: SyntheticConfig, video: Video) -> dict:
    """One video with its annotation files; returns the number of frames of each person of the test release."""
    scene = Scene(config, video)
    path = root / "affwild2" / video.path
    path.parent.mkdir(parents=True, exist_ok=True)
    sound, start = scene.sound()
    write_video(path, scene.frames(), scene.times, sound, audio_start=start if path.suffix == ".mp4" else 0.0, crf=config.crf, preset="veryfast")
    for at, actor in enumerate(video.actors):
        if actor.split in _SETS:
            file = root / _TASK / _SETS[actor.split] / f"{actor.name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join([_HEADER, *map(str, scene.labels(at))]) + "\n")
    return {"frames": {actor.name: len(scene.times) for actor in video.actors if actor.split == "test"}}


def draw_stills(root: Path, config: SyntheticConfig, cards: Iterable[_Card]) -> dict:
    """Some still images; returns the box of each photograph."""
    boxes = {}
    for card in cards:
        if card.part == "rafdb":
            still = aligned(config, card.name, RAFDB[card.label - 1])
        else:
            still = photograph(config, card.name, AFFECTNET[card.label] if card.label < len(AFFECTNET) else None)
            boxes[card.name] = tuple(map(float, still.box))
        path = root / _place(card)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", cv2.cvtColor(still.picture, cv2.COLOR_RGB2BGR), _QUALITY)[1].tobytes())
    return {"boxes": boxes}


def _place(card: _Card) -> str:
    if card.part == "rafdb":
        return f"rafdb/basic/Image/aligned/{card.name}_aligned.jpg"
    return f"affectnet/Manually_Annotated_Images/{_affectnet_path(card)}"


def _affectnet_path(card: _Card) -> str:
    return f"{int(digest(card.name, 4), 16) % 20 + 1}/{card.name}.jpg"


def _cards(config: SyntheticConfig) -> list[_Card]:
    """All still images. Expressions are dealt evenly; some of AffectNet's carry none."""
    cards = []
    for part, count in (("training", config.affectnet), ("validation", config.affectnet_validation)):
        rng = generator(config.seed, "affectnet", part)
        labels = rng.permutation(np.resize(np.arange(len(AFFECTNET)), count))
        labels = np.concatenate([labels, rng.choice(_NO_EXPRESSION, max(3, count // 50))])
        names = [digest([config.seed, part, number], 24) for number in range(len(labels))]
        cards += [_Card(part, name, int(label)) for name, label in zip(names, rng.permutation(labels), strict=True)]
    for part, count in (("train", config.rafdb), ("test", config.rafdb_test)):
        labels = generator(config.seed, "rafdb", part).permutation(np.resize(np.arange(1, len(RAFDB) + 1), count))
        cards += [_Card("rafdb", f"{part}_{number:05d}", int(label)) for number, label in enumerate(labels, start=1)]
    return cards


def _write_release(root: Path, videos: list[Video], counts: dict[str, int]) -> None:
    """Names of the test release, and the example submission: one row a frame and one past the last frame."""
    names = [actor.name for video in videos for actor in video.actors if actor.split == "test"]
    rows = [f"{name}/{frame:05d}.jpg," for name in names for frame in range(1, counts[name] + 2)]
    (root / "affwild2" / "EXPR_test_release.txt").write_text("\n".join(names) + "\n")
    (root / "affwild2" / "EXPR_test_example.txt").write_text("\n".join([f"image_location,{_HEADER}", *rows]) + "\n")


def _write_affectnet(root: Path, config: SyntheticConfig, cards: list[_Card], boxes: dict[str, tuple[float, ...]]) -> None:
    """The two lists; a row without an expression has, as in the original, now and then no usable face box either."""
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    for part in ("training", "validation"):
        rng, rows = generator(config.seed, "list", part), [head]
        for card in (card for card in cards if card.part == part):
            x0, y0, x1, y1 = boxes[card.name]
            box = [round(x0), round(y0), round(x1 - x0), round(y1 - y0)]
            if card.label in _NO_EXPRESSION and rng.random() < 0.5:
                box[2:] = [-1, -1]
            points = ";".join(f"{value:.1f}" for value in (x0, y0, x1, y1))
            rows.append(f"{_affectnet_path(card)},{','.join(map(str, box))},{points},{card.label},0.0,0.0")
        (root / "affectnet" / f"{part}.csv").write_text("\n".join(rows) + "\n")


def _write_rafdb(root: Path, cards: list[_Card]) -> None:
    lines = [f"{card.name}.jpg {card.label}" for card in cards if card.part == "rafdb"]
    path = root / "rafdb" / "basic" / "EmoLabel" / "list_patition_label.txt"  # so spelled
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
