"""Writes the synthetic data set in exactly the layouts of Aff-Wild2, AffectNet and RAF-DB.

All files are written into a staging folder; the finished folders are then moved into place, and ``synthetic.json`` is written last. After an
interruption, the next call resumes from the staged files.
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
from abaw_ray.data.synthetic.files import atomic_path
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import VideoScript, make_script
from abaw_ray.data.synthetic.still_lists import COLUMNS, affectnet_lists, rafdb_list, write_affectnet, write_rafdb
from abaw_ray.media.write import write_video

REVISION = 6
"""Raised by hand whenever the same settings give other labels or pixels."""
DONE = "synthetic.json"
"""Completion marker: holds the settings and counts of a complete data set."""
_FOLDERS = ("affwild2", "affectnet", "rafdb")
_TASK = "8th_ABAW_Annotations/EXPR_Recognition_Challenge"
_SETS = {"train": "Train_Set", "val": "Validation_Set"}
_HEADER = ",".join(EXPRESSIONS)
_BATCH = 50
"""Images per worker task."""

ProgressCallback = Callable[[int, int], None]
"""Called with the number of finished frames and images, and with their total."""


def identity(config: SyntheticConfig) -> str:
    """Digest that identifies the data set of these settings."""
    return digest([REVISION, config])


def write_synthetic(root: Path, config: SyntheticConfig, *, workers: int = 2, progress: ProgressCallback | None = None) -> dict[str, int]:
    """Write the data set into a folder, unless the folder holds it already.

    Args:
        root: The folder; it will hold ``affwild2``, ``affectnet``, ``rafdb`` and ``synthetic.json``.
        config: Settings of the data set.
        workers: Rendering processes, with one thread each.
        progress: Called after every video and every batch of images.

    Returns:
        Counts of ``videos``, ``frames`` and ``images``.

    Raises:
        ConfigError: the folder holds another data set or other files.
    """
    root, data_digest = Path(root), identity(config)
    done, staging = root / DONE, root / f".staging-{data_digest}"
    if done.exists():
        marker = json.loads(done.read_text())
        if marker["digest"] != data_digest:
            raise ConfigError(f"{root}: holds a synthetic data set of other settings or another version; delete the folder or name another one")
        return marker["counts"]
    _check_target(root, staging)
    staging.mkdir(parents=True, exist_ok=True)
    for folder in _FOLDERS:  # an interrupted call may have moved some of the folders
        if (root / folder).exists():
            os.replace(root / folder, staging / folder)
    counts = _write_all(staging, config, workers, progress)
    for folder in _FOLDERS:
        os.replace(staging / folder, root / folder)
    _write_lines(done, [json.dumps({"digest": data_digest, "revision": REVISION, "settings": to_plain(config), "counts": counts}, indent=1)])
    shutil.rmtree(staging)
    return counts


def _check_target(root: Path, staging: Path) -> None:
    if staging.exists():
        return
    for other in sorted(root.glob(".staging-*")):
        raise ConfigError(f"{other}: unfinished data set of other settings; delete it or name another folder")
    for folder in _FOLDERS:
        if (root / folder).exists():
            raise ConfigError(f"{root / folder}: exists without the synthetic.json of a synthetic data set; name another folder")


def _write_all(staging: Path, config: SyntheticConfig, workers: int, progress: ProgressCallback | None) -> dict[str, int]:
    """Render everything, videos first because they take longest, then write the lists; returns the counts."""
    videos, lists, rafdb_images = make_script(config), affectnet_lists(config), rafdb_list(config)
    tasks: list[_Task] = [_Task(_write_video, (config, staging / "affwild2", video), video.frames, "frames") for video in videos]
    for name, images in lists.items():
        tasks += [_Task(write_affectnet, (config, staging / "affectnet", batch), len(batch), name) for batch in _batches(images)]
    tasks += [_Task(write_rafdb, (config, staging / "rafdb", batch), len(batch), "rafdb") for batch in _batches(rafdb_images)]
    results = _run(tasks, workers, progress)
    frames = dict(zip([video.name for video in videos], results["frames"], strict=True))
    _write_release(staging / "affwild2", [video for video in videos if video.subjects[0].split == "test"], frames)
    for name in lists:
        _write_lines(staging / "affectnet" / name, [COLUMNS, *_concatenate(results[name])])
    _write_lines(staging / "rafdb/basic/EmoLabel/list_patition_label.txt", _concatenate(results["rafdb"]))
    return {"videos": len(videos), "frames": sum(frames.values()), "images": sum(map(len, lists.values())) + len(rafdb_images)}


@dataclass(frozen=True)
class _Task:
    """One call for a worker; results are grouped by ``kind``, in task order."""

    call: Callable[..., Any]
    arguments: tuple
    size: int
    """Number of frames or images."""
    kind: str


def _run(tasks: list[_Task], workers: int, progress: ProgressCallback | None) -> dict[str, list]:
    """Results by kind. One worker runs in this process; more run in spawned processes (a fork would copy the caller's threads)."""
    total, finished, results = sum(task.size for task in tasks), 0, {}
    report_progress = progress or (lambda finished, total: None)
    with ExitStack() as stack:
        if workers > 1:
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)))
            # runs before the pool's own exit, so that after an error or Ctrl-C the remaining tasks are cancelled
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            futures = {pool.submit(task.call, *task.arguments): task for task in tasks}
            for future in as_completed(futures):
                future.result()
                finished += futures[future].size
                report_progress(finished, total)
            results_in_order = [future.result() for future in futures]
        else:
            results_in_order = []
            for task in tasks:
                results_in_order.append(task.call(*task.arguments))
                finished += task.size
                report_progress(finished, total)
    for task, result in zip(tasks, results_in_order, strict=True):
        results.setdefault(task.kind, []).append(result)
    return results


def _write_video(config: SyntheticConfig, tree: Path, video: VideoScript) -> int:
    """Write one video (unless the file exists) and its annotations; returns its number of frames."""
    scene, path = Scene(config, video), tree / video.path
    if not path.exists():
        samples, start = scene.audio()
        with atomic_path(path) as partial:
            write_video(partial, scene.frames(), scene.times, samples, audio_start=start, crf=config.crf, preset="veryfast")
    for index, subject in enumerate(video.subjects):
        if subject.split in _SETS:
            _write_lines(tree / _TASK / _SETS[subject.split] / f"{subject.name}.txt", [_HEADER, *map(str, scene.labels(index))])
    return len(scene.times)


def _write_release(tree: Path, videos: list[VideoScript], frames: dict[str, int]) -> None:
    """Write the names and the example rows of the test videos; the first video has one row more than frames."""
    rows = [f"{video.name}/{row:05d}.jpg," for index, video in enumerate(videos) for row in range(1, frames[video.name] + 1 + (index == 0))]
    _write_lines(tree / "EXPR_test_release.txt", [video.name for video in videos])
    _write_lines(tree / "EXPR_test_example.txt", [f"image_location,{_HEADER}", *rows])


def _batches(images: list) -> list[list]:
    return [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]


def _concatenate(batches: list[list[str]]) -> list[str]:
    return [row for batch in batches for row in batch]


def _write_lines(path: Path, lines: list[str]) -> None:
    with atomic_path(path) as partial:
        partial.write_text("\n".join(lines) + "\n")
