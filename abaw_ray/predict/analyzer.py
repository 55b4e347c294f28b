"""Analyzes videos in this process, without Ray: ``analyze`` for one, ``Analyzer`` for many."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.videos import list_videos
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.weights import load_face_weights
from abaw_ray.features.config import DeviceConfig
from abaw_ray.predict.analysis import Analysis
from abaw_ray.predict.bundle.store import open_bundle
from abaw_ray.predict.config import AnalysisConfig, DetectorChoice
from abaw_ray.predict.find_faces import FindFaces
from abaw_ray.predict.models.load import load_model
from abaw_ray.predict.score_faces import ScoreFaces


class Analyzer:
    """A loaded model and a face detector, for many videos. Use it as a context manager, or call ``close``."""

    def __init__(
        self,
        model: str,
        *,
        config: AnalysisConfig | None = None,
        detector: DetectorChoice | None = None,
        people_weights: str = "",
        device: DeviceConfig | None = None,
        limits: ChildLimits | None = None,
        storage: StorageConfig | None = None,
    ) -> None:
        """Open the model; its networks are loaded in the background, while the faces of the first video are found.

        Args:
            model: A folder, an ``s3://`` or ``gs://`` URI, or ``owner/name`` on the model hub.
            config: What is analyzed in a video.
            detector: The face detector and its weights; by default those of the model's training.
            people_weights: SFace's weights, with which people are recognized across cuts: path, URI, ``owner/name`` on the model hub, or ``hub``.
                Without them people are not joined across cuts.
            device: Device and batch sizes.
            limits: Limits of the child processes that decode.
            storage: Settings of object stores.

        Raises:
            ConfigError: there is no such model, or the detector's weights are missing.
            DataError: the model is damaged.
            StorageError: a store cannot be read.
        """
        self.config, self._storage = config or AnalysisConfig(), storage or StorageConfig()
        with open_bundle(model, self._storage) as bundle:
            self.metadata = bundle.metadata
        self.faces = faces_config(self.metadata.faces, detector, people_weights)
        weights = load_face_weights(self.faces, self._storage)
        with_audio = self.metadata.kind == "audio-visual"
        self._find = FindFaces(self.faces, limits or ChildLimits(), weights=weights, with_audio=with_audio, time_range=self.config.time_range)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load-model")
        self._scorer = self._loader.submit(self._load, model, device)

    def _load(self, model: str, device: DeviceConfig | None) -> ScoreFaces:
        loaded, metadata = load_model(model, device, self._storage)
        return ScoreFaces(loaded, metadata, self.config)

    def __call__(self, video: str | Path) -> Analysis:
        """Analyze one video.

        Args:
            video: Path or URI.

        Raises:
            DataError: there is no such file, or it names several.
            ItemError: it is not a video, or none of its frames can be decoded.
            StorageError: it cannot be read; a retry may succeed.
        """
        rows = list_videos(str(video), self._storage)
        if len(rows) != 1:
            raise ConfigError(f"{video}: has {len(rows)} videos; call the analyzer once for each")
        return self.analyze_row(rows[0])

    def analyze_row(self, video: dict) -> Analysis:
        """As ``__call__``, for a ``VIDEO`` row."""
        with tempfile.TemporaryDirectory(prefix="abaw-analyze-") as folder:
            self._find(video, Path(folder))
            return self._scorer.result()(video, Path(folder))

    def close(self) -> None:
        """End the child processes."""
        self._loader.shutdown()
        self._find.close()

    def __enter__(self) -> "Analyzer":
        """The analyzer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close it."""
        self.close()


def faces_config(trained: FacesConfig, detector: DetectorChoice | None, people_weights: str) -> FacesConfig:
    """The settings of the model's training with another detector and embedder; chips stay as the model needs them."""
    detector = detector or DetectorChoice()
    kind = detector.kind or ("yunet" if detector.weights else trained.detector.kind)  # weights are those of YuNet
    base = trained.detector if kind == trained.detector.kind else FacesConfig().detector
    min_score = detector.min_score or base.min_score
    chosen = replace(base, kind=kind, weights=detector.weights or base.weights, min_score=min_score, keep_score=min(base.keep_score, min_score))
    people = replace(trained.people, weights=people_weights)
    return replace(trained, detector=chosen, people=people)


def analyze(video: str | Path, model: str, **options: object) -> Analysis:
    """Analyze one video; the options are those of ``Analyzer``, which suits several videos better.

    Args:
        video: Path or URI.
        model: A folder, an ``s3://`` or ``gs://`` URI, or ``owner/name`` on the model hub.
        options: Keyword arguments of ``Analyzer``.

    Raises:
        ConfigError: there is no such model, or the detector's weights are missing.
        DataError: there is no such video, or the model is damaged.
        ItemError: it is not a video, or none of its frames can be decoded.
        StorageError: a store cannot be read.
    """
    with Analyzer(model, **options) as analyzer:  # pyright: ignore[reportArgumentType] (checked by Analyzer)
        return analyzer(video)
