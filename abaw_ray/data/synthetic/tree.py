"""The drawn data set -> files, in exactly the layouts of Aff-Wild2, AffectNet and RAF-DB.

Everything is written into a folder of its own beside the final ones, which are moved into place when all is there; ``synthetic.json``
comes last. Interrupted, the next call goes on from the files that are there.
"""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.settings import digest, to_plain
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.files import placed
from abaw_ray.data.synthetic.images import COLUMNS, affectnet_lists, draw_affectnet, draw_rafdb, rafdb_list
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import Video, write_script
from abaw_ray.media.write import write_video

REVISION = 6
"""Raised by hand when the same settings give other labels or pixels."""
DONE = "synthetic.json"
"""The file that says that all is there, and what was drawn."""
_FOLDERS = ("affwild2", "affectnet", "rafdb")
_TASK = "8th_ABAW_Annotations/EXPR_Recognition_Challenge"
_SETS = {"train": "Train_Set", "val": "Validation_Set"}
_HEADER = ",".join(EXPRESSIONS)
_BATCH = 50
"""Images that one worker draws at a time."""

Progress = Callable[[int, int], None]
"""Called with the number of videos and images that are done, and of all."""


def identity(config: SyntheticConfig) -> str:
    """Name of the data set that these settings give."""
    return digest([REVISION, config])


def write_synthetic(root: Path, config: SyntheticConfig, *, workers: int = 2, progress: Progress | None = None) -> dict[str, int]:
    """Write the data set below a folder, or find that it is there already.

    Args:
        root: The folder; ``affwild2``, ``affectnet``, ``rafdb`` and ``synthetic.json`` appear in it.
        config: What to draw.
        workers: Processes that draw, each with one thread.
        progress: Told after every video and every batch of images.

    Returns:
        Counts of ``videos``, ``frames`` and ``images``.

    Raises:
        ConfigError: the folder holds another data set, or something that is none.
    """
    root, name = Path(root), identity(config)
    done, staging = root / DONE, root / f".making-{name}"
    if done.exists():
        found = json.loads(done.read_text())
        if found["digest"] != name:
            raise ConfigError(f"{root}: holds a data set drawn with other settings or by another version; delete the folder or name another one")
        return found["counts"]
    _refuse_others(root, staging)
    staging.mkdir(parents=True, exist_ok=True)
    for folder in _FOLDERS:  # an earlier call may have ended between two moves
        if (root / folder).exists():
            os.replace(root / folder, staging / folder)
    counts = _write_all(staging, config, workers, progress)
    for folder in _FOLDERS:
        os.replace(staging / folder, root / folder)
    _text(done, [json.dumps({"digest": name, "revision": REVISION, "settings": to_plain(config), "counts": counts}, indent=1)])
    shutil.rmtree(staging)
    return counts


def _refuse_others(root: Path, staging: Path) -> None:
    if staging.exists():
        return
    for other in sorted(root.glob(".making-*")):
        raise ConfigError(f"{other}: an unfinished data set with other settings lies here; delete it or name another folder")
    for folder in _FOLDERS:
        if (root / folder).exists():
            raise ConfigError(f"{root / folder}: is there, but without the synthetic.json of a drawn data set; name another folder")


def _write_all(staging: Path, config: SyntheticConfig, workers: int, progress: Progress | None) -> dict[str, int]:
    """Draw everything, videos first (they take longest), then write the lists."""
    videos, lists, aligned = write_script(config), affectnet_lists(config), rafdb_list(config)
    tasks: list[_Task] = [_Task(_write_video, (config, staging / "affwild2", video), video.frames, "frames") for video in videos]
    for name, images in lists.items():
        tasks += [_Task(draw_affectnet, (config, staging / "affectnet", batch), len(batch), name) for batch in _batches(images)]
    tasks += [_Task(draw_rafdb, (config, staging / "rafdb", batch), len(batch), "rafdb") for batch in _batches(aligned)]
    results = _run(tasks, workers, progress)
    frames = dict(zip([video.name for video in videos], results["frames"], strict=True))
    _write_release(staging / "affwild2", [video for video in videos if video.actors[0].split == "test"], frames)
    for name in lists:
        _text(staging / "affectnet" / name, [COLUMNS, *_joined(results[name])])
    _text(staging / "rafdb/basic/EmoLabel/list_patition_label.txt", _joined(results["rafdb"]))
    return {"videos": len(videos), "frames": sum(frames.values()), "images": sum(map(len, lists.values())) + len(aligned)}


@dataclass(frozen=True)
class _Task:
    """One call for a worker; its result is kept under ``kind``, in the order of the tasks."""

    call: Callable[..., Any]
    arguments: tuple
    size: int
    """Pictures."""
    kind: str


def _run(tasks: list[_Task], workers: int, progress: Progress | None) -> dict[str, list]:
    """All results by kind; with one worker in this process, else in fresh ones (a fork would copy the caller's threads)."""
    total, done, results = sum(task.size for task in tasks), 0, {}
    tell = progress or (lambda done, total: None)
    with ExitStack() as stack:
        if workers > 1:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)))
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)  # runs first: an error or Ctrl-C does not wait for the rest
            futures = {pool.submit(task.call, *task.arguments): task for task in tasks}
            for future in as_completed(futures):
                future.result()
                done += futures[future].size
                tell(done, total)
            answers = [future.result() for future in futures]
        else:
            answers = []
            for task in tasks:
                answers.append(task.call(*task.arguments))
                done += task.size
                tell(done, total)
    for task, answer in zip(tasks, answers, strict=True):
        results.setdefault(task.kind, []).append(answer)
    return results


def _write_video(config: SyntheticConfig, tree: Path, video: Video) -> int:
    """Write one video's file, if it is not there, and its annotations; returns the number of its frames."""
    scene, path = Scene(config, video), tree / video.path
    if not path.exists():
        sound, start = scene.sound()
        with placed(path) as partial:
            write_video(partial, scene.frames(), scene.times, sound, audio_start=start, crf=config.crf, preset="veryfast")
    for at, actor in enumerate(video.actors):
        if actor.split in _SETS:
            _text(tree / _TASK / _SETS[actor.split] / f"{actor.name}.txt", [_HEADER, *map(str, scene.labels(at))])
    return len(scene.times)


def _write_release(tree: Path, videos: list[Video], frames: dict[str, int]) -> None:
    """Names and rows wanted of the test videos; of the first one a row more than it has frames."""
    rows = [f"{video.name}/{row:05d}.jpg," for at, video in enumerate(videos) for row in range(1, frames[video.name] + 1 + (at == 0))]
    _text(tree / "EXPR_test_release.txt", [video.name for video in videos])
    _text(tree / "EXPR_test_example.txt", [f"image_location,{_HEADER}", *rows])


def _batches(images: list) -> list[list]:
    return [images[at : at + _BATCH] for at in range(0, len(images), _BATCH)]


def _joined(parts: list[list[str]]) -> list[str]:
    return [row for part in parts for row in part]


def _text(path: Path, lines: list[str]) -> None:
    with placed(path) as partial:
        partial.write_text("\n".join(lines) + "\n")
