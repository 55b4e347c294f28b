"""Content of a report of every kind."""

import numpy as np

from abaw_ray.report.inputs import (
    ConfusionMatrix,
    DataSetScore,
    EncoderTraining,
    Epoch,
    ExpertUse,
    ReportInput,
    SmoothingCurve,
    SubmissionInfo,
    Timeline,
)

SUMMARY = {
    "official_val": {
        "macro_f1": 0.6412,
        "macro_f1_unshared": 0.6187,
        "interval": [0.5811, 0.6905],
        "interval_unshared": [0.5522, 0.6611],
        "per_class": [0.71] * 8,
    },
    "cv": {"macro_f1_mean": 0.6183, "macro_f1_std": 0.0271, "folds": [0.5881, 0.6052, 0.6133, 0.6424, 0.6595]},
    "visual_only": {"macro_f1": 0.5417, "interval": [0.5099, 0.5701]},
    "audio_only": {"macro_f1": 0.3128},
    "baselines": {"pixels": {"macro_f1": 0.2789, "interval": None}, "pitch_energy": {"macro_f1": 0.1544, "interval": [0.1212, 0.1888]}},
    "chance_macro_f1": 0.0993,
    "stages": {"faces": {"seconds": 83.2, "rows": 23810, "items": 37, "failed": 1}, "encoder": {"seconds": 191.0, "rows": 6000}},
    "submission": "runs/demo/submission.txt",
}


def timeline(video="video1", frames=90, *, audio=True, seed=0, **given):
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.ones(8), size=frames).astype(np.float32)
    seen, heard = rng.random(frames) < 0.7, (rng.random(frames) < 0.6) & audio
    probability[~(seen | heard)] = np.nan
    predicted = np.where(seen | heard, np.nan_to_num(probability).argmax(axis=1), -1).astype(np.int8)
    fields = {"track": "main", "time": np.arange(frames) / 30, "label": rng.integers(-1, 8, frames).astype(np.int8)} | given
    return Timeline(video=video, predicted=predicted, probability=probability, seen=seen, heard=heard, **fields)


def encoder_training(**changes):
    fields = {
        "epochs": [Epoch(epoch=i, loss=2.0 / i, macro_f1={"AffectNet-8": 0.1 * i, "RAF-DB": 0.9 - 0.15 * abs(i - 3)}) for i in range(1, 5)],
        "selected_epoch": 3,
        "select": "best",
        "data_sets": [
            DataSetScore(name="AffectNet-8", images=4000, accuracy=0.3125, macro_f1=0.3, probe_macro_f1=0.2875),
            DataSetScore(name="RAF-DB", images=3068, accuracy=0.8812, macro_f1=0.9),
        ],
        "experts": ExpertUse(
            classes=["Neutral", "Anger"], per_class=np.array([[1.0, 0.63, 0.37], [0.9, 0.1, 1.0]]), total=np.array([0.95, 0.36, 0.69])
        ),
    }
    return EncoderTraining(**(fields | changes))


def report_input(**changes):
    counts = np.random.default_rng(1).integers(0, 900, (8, 8)) + 500 * np.eye(8, dtype=int)
    window = np.array([0.0, 1.0, 3.4, 8.0])
    fields = {
        "summary": SUMMARY,
        "run": "preset demo, seed 7",
        "confusion_matrices": [ConfusionMatrix(name="Official validation", counts=counts), ConfusionMatrix(name="Five folds", counts=4 * counts)],
        "smoothing": SmoothingCurve(
            window_s=window,
            score=0.5 + window / 100,
            folds=np.ones((5, 4)) * 0.5,
            selected_s=3.4,
            in_sample=0.6211,
            cross_fitted=0.6158,
            interval_in_sample=(0.5511, 0.6911),
            interval_cross_fitted=(0.5433, 0.6733),
            optimism=(0.0053, -0.0021, 0.0129),
            other_kinds={"gaussian": 0.5 + window / 90},
            class_bias={"with": 0.5932, "without": 0.5871},
            class_bias_difference=(0.0061, -0.0123, 0.0234),
        ),
        "encoder": encoder_training(),
        "timelines": [timeline(f"video{i}", seed=i, group="validation") for i in range(3)],
        "submission": SubmissionInfo(path="runs/demo/submission.txt", rows=10226, filled=214),
        "failures": [{"item": "broken.mp4", "stage": "faces", "reason": "not a video", "last_frame": None}],
        "settings": {"encoder": {"optim": {"lr": 3e-4}}, "scales": [1.0, 1.25]},
        "versions": {"ray": "2.60.0"},
    }
    return ReportInput(**(fields | changes))
