"""Compares the two modes of the speech features, ``windows`` and ``context``: cosine of their vectors, CPU time, and scores on synthetic data.

python -m tools.data.compare_seeds --seeds 0 1 2                      (three demos; their features are read)
python -m tools.data.compare_speech --clips ../shared/clips/*         (about five minutes on one core)

Clips give cosine and cost at the real size of the model, whose weights are random where none are given. The synthetic data give scores, with the
preset's own model and the settings of its fusion as they are, not searched.
"""

import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.presets import PRESETS
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.sources import videos
from abaw_ray.core.progress import console, echo
from abaw_ray.features.config import SpeechConfig
from abaw_ray.features.speech import SpeechFeatures
from abaw_ray.fusion.evaluation.protocols import score_official_val, train_official
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.search import candidate_config
from abaw_ray.media.audio import RATE, Audio, decode_audio
from abaw_ray.media.video import decode
from abaw_ray.scoring.bootstrap import paired_difference
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.metrics import macro_f1
from tools.bench.table import metadata, rounded, run_main
from tools.data.compare_seeds import with_seed
from tools.data.synthetic_search import SyntheticData, read_synthetic_data, score_subjects, selected_again

BASE = "base"
"""Value of ``weights`` for a model of the published base architecture (12 blocks, 95 million parameters) with random weights."""
MODELS = ("fused", "speech")
"""Fusion models that are scored: of both modalities, and of speech alone."""
VIEWS = ("validation", "folds of Train_Set")
ByMode = dict[tuple[str, str, str], list[Evaluation]]
"""Fusion model, view and mode of the speech features -> evaluations of the seeds."""


@dataclass(frozen=True)
class BothModes:
    """Vectors of the same frames in both modes."""

    windows: np.ndarray
    context: np.ndarray
    heard: np.ndarray
    cpu_s: Mapping[str, float]
    """CPU seconds by mode."""


class BothModels:
    """The speech model in both modes, loaded once."""

    def __init__(self, config: SpeechConfig) -> None:
        """Load it twice; all settings but the mode are those of ``config``."""
        self.windows, self.context = (SpeechFeatures(replace(config, mode=mode)) for mode in ("windows", "context"))

    def __call__(self, audio: Audio | None, times: np.ndarray) -> BothModes:
        """Vectors of frames at these times, with the CPU time of each mode."""
        vectors, heard, cpu_s = {}, np.zeros(len(times), bool), {}
        for name in ("windows", "context"):
            start = time.process_time()
            vectors[name], heard = getattr(self, name)(audio, times)
            cpu_s[name] = time.process_time() - start
        return BothModes(vectors["windows"], vectors["context"], heard, cpu_s)


def main(
    seeds: tuple[int, ...] = (0, 1, 2),
    preset: str = "demo",
    clips: tuple[Path, ...] = (),
    weights: str = BASE,
    out: Path | None = None,
) -> None:
    """Measure clips, then the synthetic data of each seed, and print both.

    Args:
        seeds: Seeds of finished runs of ``tools.data.compare_seeds``.
        preset: Their preset.
        clips: Videos with sound.
        weights: Speech model of the clips, a folder; ``base`` builds one of the published size with random weights, ``random`` the small one.
        out: JSON file of all figures.
    """
    measured = measure_clips(clips, weights)
    evaluations: ByMode = {}
    synthetic = {}
    for seed in seeds:
        synthetic[seed], found = measure_synthetic(seed, preset)
        for key, evaluation in found.items():
            evaluations.setdefault(key, []).append(evaluation)
    scores = compare(evaluations)
    console.print(_table(scores))
    if out:
        note = metadata("torch", "transformers") | {
            "load_average": os.getloadavg(),
            "threads": 1,
            "preset": preset,
            "seeds": seeds,
            "weights": weights,
        }
        out.write_text(json.dumps(rounded(note | {"clips": measured, "synthetic": synthetic, "scores": scores}), indent=1) + "\n")
        echo(str(out))


def measure_clips(clips: tuple[Path, ...], weights: str) -> dict[str, dict[str, float]]:
    """Cosine and cost of every frame of these videos, by file name."""
    if not clips:
        return {}
    with tempfile.TemporaryDirectory(prefix="abaw-speech-") as folder:
        both = BothModels(SpeechConfig(weights=save_base(Path(folder)) if weights == BASE else weights))
    both(Audio(np.zeros(2 * RATE, np.float32), 0.0), np.array([1.0]))  # the first pass costs more than the others
    figures = {}
    for clip in clips:
        times = np.array([frame.time for frame in decode(str(clip))])
        figures[clip.name] = agreement(both(decode_audio(str(clip)), times)) | {"frames": len(times)}
        echo(f"{clip.name}: " + ", ".join(f"{name} {value:.3g}" for name, value in figures[clip.name].items()))
    return figures


def save_base(folder: Path) -> str:
    """Save a model of the published base architecture with random weights; returns the folder."""
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True).save_pretrained(folder)
    return str(folder)


def agreement(both: BothModes) -> dict[str, float]:
    """Cosine of the two vectors of each frame that is heard, as they are and without each mode's own mean over these frames, and CPU time.

    Vectors of one model share a large mean, which makes every cosine high; without it the cosine says how far the frames agree.
    """
    one, two = (vectors[both.heard].astype(np.float64) for vectors in (both.windows, both.context))
    plain, centered = cosines(one, two), cosines(one - one.mean(axis=0), two - two.mean(axis=0))
    return {
        "heard": int(both.heard.sum()),
        "cosine_median": float(np.median(plain)),
        "cosine_5th_percentile": float(np.quantile(plain, 0.05)),
        "centered_cosine_median": float(np.median(centered)),
        "centered_cosine_5th_percentile": float(np.quantile(centered, 0.05)),
        **{f"{mode}_cpu_s": seconds for mode, seconds in both.cpu_s.items()},
        "windows_over_context_cpu": both.cpu_s["windows"] / both.cpu_s["context"],
    }


def cosines(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Cosine of each row of two matrices; 0 where one of the two is zero."""
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return np.divide((one * two).sum(axis=1), norms, out=np.zeros(len(one)), where=norms > 0)


def measure_synthetic(seed: int, preset: str) -> tuple[dict[str, float], dict[tuple[str, str, str], Evaluation]]:
    """Cosine and cost on the synthetic data of one seed, and the scores of fusion models with the features of each mode."""
    data, config = read_synthetic_data(seed, preset), with_seed(PRESETS[preset][1], seed)
    run = Run(config, RaySession(config.compute, config.storage))
    uris = {item.name: row["uri"] for item, row in videos(run).items()}
    both = speech_of_frames(data.frames, uris, BothModels(config.features.speech))
    figures = agreement(both)
    echo(f"seed {seed}: " + ", ".join(f"{name} {value:.3g}" for name, value in figures.items()))
    found = {}
    for mode in ("context", "windows"):
        of_mode = replace(data, frames=replace(data.frames, speech=getattr(both, mode), heard=both.heard))
        for model in MODELS:
            views = score_model(of_mode, model)
            echo(f"seed {seed}, {mode}, {model}: " + ", ".join(f"{view} {one.macro_f1:.3f}" for view, one in views.items()))
            found |= {(model, view, mode): one for view, one in views.items()}
    return figures, found


def speech_of_frames(frames: Frames, uris: Mapping[str, str], models: BothModels) -> BothModes:
    """Speech vectors of all frames in their order; two subjects of one video share the model's passes, as in the pipeline."""
    names = np.array([subject.video for subject in frames.subjects], dtype=object)[frames.subject_index]
    shape = (len(frames), models.context.dim)
    windows, context, heard = np.zeros(shape, np.float16), np.zeros(shape, np.float16), np.zeros(len(frames), bool)
    cpu_s = dict.fromkeys(("windows", "context"), 0.0)
    for name in dict.fromkeys(names):
        rows = np.flatnonzero(names == name)
        times, at = np.unique(frames.time[rows], return_inverse=True)
        part = models(decode_audio(uris[name]), times)
        windows[rows], context[rows], heard[rows] = part.windows[at], part.context[at], part.heard[at]
        cpu_s = {mode: cpu_s[mode] + part.cpu_s[mode] for mode in cpu_s}
    return BothModes(windows, context, heard, cpu_s)


def score_model(data: SyntheticData, mode: str) -> dict[str, Evaluation]:
    """Evaluations by view of one fusion model with the preset's settings; epochs and postprocessing are selected on the folds."""
    selected = selected_again(data, data.folds(), {}, mode)
    model = train_official(data.frames, candidate_config(data.config, {}, mode), selected.epochs.final)
    _, logits, gate = score_official_val(model, data.frames)
    return {
        "validation": score_subjects(data, data.frames.subject_names("val"), logits, gate, selected.selection.postprocessing),
        "folds of Train_Set": selected.cross_fitted,
    }


def compare(evaluations: ByMode) -> list[dict[str, Any]]:
    """A row per fusion model and view: macro-F1 by seed in both modes, mean difference of ``windows`` from ``context`` and its 95 % interval."""
    rows = []
    for model, view in dict.fromkeys((model, view) for model, view, _ in evaluations):
        counts = {mode: [one.counts for one in evaluations[model, view, mode]] for mode in ("windows", "context")}
        difference, *interval = paired_difference(counts["windows"], counts["context"], seed=0)
        by_seed = {mode: [float(macro_f1(matrices.sum(axis=0))) for matrices in of_seeds] for mode, of_seeds in counts.items()}
        rows.append({"model": model, "view": view} | by_seed | {"difference": difference, "interval": interval})
    return rows


def _table(scores: list[dict[str, Any]]) -> Table:
    table = Table("model", "frames", "windows", "context", "difference", "95 % interval", title="macro-F1 by seed")
    for row in scores:
        seeds = (" ".join(f"{score:.3f}" for score in row[mode]) for mode in ("windows", "context"))
        table.add_row(row["model"], row["view"], *seeds, f"{row['difference']:+.3f}", "{:+.3f} to {:+.3f}".format(*row["interval"]))
    return table


if __name__ == "__main__":
    run_main(main)
