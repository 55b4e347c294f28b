"""The work of the stage ``analysis`` on one video: in one worker, or in two, for a CPU and for a GPU."""

import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from abaw_ray.cluster.stages.sources import video_missing
from abaw_ray.core.errors import ItemError, MissingError, StorageError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.folders import download_folder, upload_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.core.storage.unnamed_files import link_all, open_all
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.weights import FaceWeights
from abaw_ray.features.config import DeviceConfig
from abaw_ray.predict.analysis import Analysis
from abaw_ray.predict.config import AnalysisConfig, OutputConfig
from abaw_ray.predict.find_faces import SUMMARY_FILE, FindFaces, read_summary
from abaw_ray.predict.models.load import load_model
from abaw_ray.predict.output.files import OutputWriter
from abaw_ray.predict.score_faces import ScoreFaces

CHIPS = "chips"
"""Folder of the stage's store with the chips and the audio of videos that are not scored yet."""


@dataclass(frozen=True, kw_only=True)
class AnalysisWork:
    """What both halves of the work need; picklable."""

    model: str
    faces: FacesConfig
    weights: FaceWeights
    with_audio: bool
    analysis: AnalysisConfig
    outputs: OutputConfig
    output: Storage
    """The user's output folder."""
    device: DeviceConfig
    limits: ChildLimits
    storage: StorageConfig
    keep_chips: bool
    notices: tuple[str, ...]
    """Sentences about the model and the identification of people that are shown with every result."""

    def finder(self) -> FindFaces:
        """The first half."""
        return FindFaces(self.faces, self.limits, weights=self.weights, with_audio=self.with_audio, time_range=self.analysis.time_range)

    def scorer(self) -> ScoreFaces:
        """The second half; imports the tensor libraries."""
        model, metadata = load_model(self.model, self.device, self.storage)
        return ScoreFaces(model, metadata, self.analysis)

    def writer(self) -> OutputWriter:
        """Writes the user's files."""
        return OutputWriter(self.output, self.outputs, self.limits)


class FindWork:
    """First operator: finds the faces of one video, and stores chips and audio for the second one."""

    def __init__(self, work: AnalysisWork) -> None:
        self.find = work.finder()

    def __call__(self, store: StageStore, item: Item, payload: dict, take_slot: Callable[[], None]) -> Mapping[str, float]:
        """Process one item; its payload is the VIDEO row with ``output``, the name of its files."""
        with tempfile.TemporaryDirectory(prefix="abaw-analyze-") as folder:
            found = _find(self.find, payload, Path(folder))
            take_slot()
            upload_folder(Path(folder), store.storage, chips_folder(store, item))
        return {"frames": found.analyzed, "faces": found.faces}


class ScoreWork:
    """Second operator: scores the chips of one video, writes its files, and deletes the chips.

    May be called from two threads: while one video is scored, the chips of the other one are read, or its files are written.
    """

    def __init__(self, work: AnalysisWork) -> None:
        self.score, self.write, self.keep_chips = work.scorer(), work.writer(), work.keep_chips
        self.device_lock, self.files_lock = threading.Lock(), threading.Lock()

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item, as ``FindWork``."""
        chips = chips_folder(store, item)
        with ExitStack() as stack:
            files = self._read(store, item, stack)
            try:
                with self.device_lock:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="abaw-analyze-")))
                    link_all(files, folder)
                    analysis = self.score(payload, folder)
                with self.files_lock:
                    return _finish(store, item, payload, analysis, self.write, folder)
            finally:
                if not self.keep_chips:
                    store.storage.delete(chips)

    def _read(self, store: StageStore, item: Item, stack: ExitStack) -> Mapping[str, BinaryIO]:
        """The item's files, without names on this disk: it may wait for the device for long, and a worker that is stopped deletes nothing."""
        chips = chips_folder(store, item)
        with tempfile.TemporaryDirectory(prefix="abaw-analyze-", ignore_cleanup_errors=True) as folder:  # on NFS an open file keeps its folder
            download_folder(store.storage, chips, Path(folder))
            files = open_all(Path(folder), stack)
        if SUMMARY_FILE not in files:
            raise StorageError(f"{store.storage.uri(chips)}: the chips of {item.name} are gone; they are made again")
        return files


class FusedWork:
    """Both halves in one worker. The model is loaded while the faces of the first video are found."""

    def __init__(self, work: AnalysisWork) -> None:
        self.find, self.write, self.keep_chips = work.finder(), work.writer(), work.keep_chips
        loader = ThreadPoolExecutor(1, thread_name_prefix="load-model")
        self.score: Future[ScoreFaces] = loader.submit(work.scorer)
        loader.shutdown(wait=False)

    def __call__(self, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
        """Process one item, as ``FindWork``."""
        with tempfile.TemporaryDirectory(prefix="abaw-analyze-") as folder:
            found = _find(self.find, payload, Path(folder))
            figures = _finish(store, item, payload, self.score.result()(payload, Path(folder)), self.write, Path(folder))
            if self.keep_chips:
                upload_folder(Path(folder), store.storage, chips_folder(store, item))
        return {**figures, "frames": found.analyzed, "faces": found.faces}

    def close(self) -> None:
        """End the child processes, and wait for the model: a library may print while it is loaded, and output is redirected until the work ends."""
        self.find.close()
        self.write.close()
        wait([self.score])


def chips_folder(store: StageStore, item: Item) -> str:
    """Where the chips and the audio of a video are stored until it is scored."""
    return f"{store.path}/{CHIPS}/{item.key}"


def _find(find: FindFaces, payload: dict, folder: Path) -> Any:
    try:
        return find(payload, folder)
    except MissingError as error:
        raise video_missing(payload["uri"], error) from error


def _finish(store: StageStore, item: Item, payload: dict, analysis: Analysis, write: OutputWriter, folder: Path) -> Mapping[str, float]:
    """Write the user's files, then the stored analysis.

    Raises:
        ItemError: the video is damaged; raised after its failure, and then the rows of its good frames, are stored.
    """
    found = read_summary(folder)
    failure = ItemError(found.error, found.frames) if found.error else None
    write(analysis, payload["output"], store.output(item))
    if failure:
        store.write_failure(item, failure)
    with tempfile.TemporaryDirectory(prefix="abaw-analysis-") as local:
        store.storage.put_file(analysis.to_parquet(Path(local) / "analysis.parquet"), store.output(item))
    if failure:
        raise failure
    return {"rows": len(analysis.table), "people": len(analysis.people)}
