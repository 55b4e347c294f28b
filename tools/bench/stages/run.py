"""CPU time of the work of the stages that no other benchmark measures, as rates for plans: images of annotated videos, baselines, predictions.

python -m tools.bench.stages --json tools/benchmarks/stages-2026-01-31-box.json

Images, sound, vectors and logits are random: the time depends on their sizes. Rates of one core, the median over rounds.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from abaw_ray.cluster.stages.stage_one.annotated_images import selected_faces
from abaw_ray.core import schema
from abaw_ray.core.errors import AbawError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import ENCODER_CLASSES
from abaw_ray.encoder.folds.chips import AnnotatedChips
from abaw_ray.encoder.folds.config import FoldEncodersConfig
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.baselines import gray_pixels, pitch_and_energy
from abaw_ray.features.config import BaselineConfig
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.inference import predict_logits
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.trained import TrainedFusion, TrainingProvenance
from abaw_ray.media.audio import RATE, Audio
from abaw_ray.predict.subjects import confusion_matrices, predict_subjects
from abaw_ray.scoring.baselines import logistic_predictions
from abaw_ray.scoring.postprocessing import Postprocessing
from tools.bench.fusion.data import WIDTHS, SubjectCount, draw_frames
from tools.bench.table import JsonFile, Row, command_line, measure_parts, metadata, report_error, show_rows, write_rows

_CHIP_SIDE, _CHIPS = 380, 32
"""Side of a chip in pixels, about that of the default settings for a large face, and the number of different ones."""
FIGURES: tuple[Row, ...] = (
    ("scanned_chip_us", ("annotated_images", "scanned_us"), "", "a chip of a video that does not become an image"),
    ("annotated_image_us", ("annotated_images", "image_us"), "", "one that does, in addition"),
    ("baseline_frame_ms", ("baseline_vectors", "frame_ms"), "", "pixels, pitch and energy of one frame"),
    ("regression_row_ms", ("baselines", "row_ms"), "", "one of the training rows of a logistic regression on 24 x 24 pixels"),
    ("model_frame_us", ("predictions", "model_us"), "", "logits of one frame by one fusion model of 1,024 and 768 values"),
    ("labels_frame_us", ("predictions", "labels_us"), "", "one frame from logits to smoothed labels and confusion matrices"),
)


def cpu_s(work: Callable[[], object], rounds: int) -> float:
    """Return the CPU seconds of a call, the median over rounds after a first one."""

    def once() -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    work()
    return median(once() for _ in range(rounds))


def draw_chips() -> list[bytes]:
    """Return JPEGs of blurred noise."""
    rng, quality = np.random.default_rng(0), [cv2.IMWRITE_JPEG_QUALITY, 90]
    noise = [cv2.GaussianBlur(rng.integers(0, 255, (_CHIP_SIDE, _CHIP_SIDE, 3), dtype=np.uint8), (0, 0), 3) for _ in range(_CHIPS)]
    images = [cv2.normalize(one, np.empty_like(one), 0, 255, cv2.NORM_MINMAX) for one in noise]
    return [cv2.imencode(".jpg", image, quality)[1].tobytes() for image in images]


def measure_annotated_images(frames: int, rounds: int) -> dict[str, float]:
    """Read the faces of a video of ``frames`` frames, and make an image of none or of half of them."""
    chips = draw_chips()
    row = {"video": "v.mp4", "track": "v", "shot": 0, "seen": True, "source": "detected", "box": [100.0, 100.0, 300.0, 320.0], "score": 0.9}
    row |= {"landmarks": [150.0] * 10, "chip_scale": 1.0, "inside": 1.0}
    rows = [row | {"frame": number + 1, "time": number / 30, "chip": chips[number % _CHIPS]} for number in range(frames)]
    maker, labels = AnnotatedChips(FoldEncodersConfig(), ChipConfig(), ENCODER_CLASSES), np.zeros(frames, np.int8)
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.FACE), Path(folder) / "faces.parquet")
        storage = Storage(StorageConfig(uri=folder))

        def make(selected: np.ndarray) -> None:
            for faces in selected_faces(storage, "faces.parquet", "v", selected):
                maker.images(faces, labels)

        scan, half = (cpu_s(partial(make, np.arange(frames) % 2 >= start), rounds) for start in (2, 1))
    return {"scanned_us": scan / frames * 1e6, "image_us": (half - scan) / (frames // 2) * 1e6}


def measure_vectors(frames: int, rounds: int) -> dict[str, float]:
    """Compute the vectors of ``frames`` frames, two a second."""
    config, chips = BaselineConfig(), draw_chips()
    times = np.arange(frames) * config.interval_s
    audio = Audio(np.random.default_rng(0).standard_normal(int(RATE * times[-1]) + RATE).astype(np.float32) / 8, 0.0)

    def vectors() -> None:
        pitch_and_energy(audio, times, config.window_s)
        for number in range(frames):
            gray_pixels(chips[number % _CHIPS], config.img_size)

    return {"frame_ms": cpu_s(vectors, rounds) / frames * 1e3}


def measure_regression(rows: int, rounds: int) -> dict[str, float]:
    """Train on ``rows`` smooth images with random labels, for which the solver uses all of its iterations, and predict half as many."""
    rng, side = np.random.default_rng(0), BaselineConfig().img_size
    pixels = np.stack([cv2.GaussianBlur(image, (0, 0), 2).ravel() for image in rng.random((rows, side, side), dtype=np.float32)])
    labels = rng.integers(0, 8, rows)
    return {"row_ms": cpu_s(lambda: logistic_predictions(pixels, labels, pixels[: rows // 2], 0), rounds) / rows * 1e3}


def measure_predictions(frames: int, rounds: int) -> dict[str, float]:
    """Score the frames of ten subjects by one fusion model."""
    data = draw_frames([SubjectCount(f"s{number}", frames // 10, frames // 10) for number in range(10)])
    trained = TrainedFusion(
        model=GatedFusion(*WIDTHS, FusionConfig()).eval(), provenance=TrainingProvenance(subjects=frozenset(), recordings=frozenset())
    )
    rows, (logits, gate) = np.arange(len(data)), predict_logits(trained, data, device="cpu")
    model = cpu_s(lambda: predict_logits(trained, data, device="cpu"), rounds)
    labels = cpu_s(lambda: confusion_matrices(data, predict_subjects(data, rows, logits, gate, Postprocessing()), 0), rounds)
    return {"model_us": model / frames * 1e6, "labels_us": labels / frames * 1e6}


def main(frames: int = 20_000, rounds: int = 5, json: JsonFile = None) -> int:
    """Measure the rates.

    Args:
        frames: Frames of a measurement; few test the benchmark itself.
        rounds: Repetitions.
        json: Output file of all figures.
    """
    parts = {
        "annotated_images": partial(measure_annotated_images, frames // 10, rounds),
        "baseline_vectors": partial(measure_vectors, frames // 20, rounds),
        "baselines": partial(measure_regression, frames // 2, rounds),
        "predictions": partial(measure_predictions, frames, rounds),
    }
    try:
        raw = measure_parts(parts, (), {}, lambda: None)
    except AbawError as error:
        return report_error(error)
    show_rows(FIGURES, raw)
    if json:
        note = {"command": command_line("tools.bench.stages", frames=frames, rounds=rounds, json=json), "frames": frames, "rounds": rounds}
        write_rows(json, FIGURES, note | metadata("torch", "scikit-learn", "torchaudio"), raw)
    return 0
