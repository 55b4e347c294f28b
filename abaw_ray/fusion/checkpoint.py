"""Saves and loads fusion models (``fusion.json`` and ``fusion.safetensors`` in a folder, ``fusion-1.safetensors`` and so on for further seeds), and
builds the ``LOGITS`` table.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.settings import from_plain, to_plain
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.trained import TrainedFusion, TrainingProvenance

WEIGHTS_FILE, METADATA_FILE = "fusion.safetensors", "fusion.json"


def save_fusion(folder: Path, trained: TrainedFusion) -> None:
    """Write the weights, the standardization, the settings and the training provenance into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model = trained.model
    for number, one in enumerate(trained.models):
        save_file({name: value.detach().cpu().contiguous() for name, value in one.state_dict().items()}, folder / _weights_file(number))
    metadata = {
        "expressions": list(EXPRESSIONS),
        "visual": model.widths[0],
        "speech": model.widths[1],
        "config": to_plain(model.config),
        "seeds": [one.config.seed for one in trained.models],
        "provenance": {name: sorted(getattr(trained.provenance, name)) for name in ("subjects", "recordings", "encoder_train_subjects")},
        "curve": [dict(row) for row in trained.curve],
    }
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=1))


def load_fusion(folder: Path) -> TrainedFusion:
    """The saved model, in evaluation mode on the CPU.

    Raises:
        DataError: the folder holds no complete model, or a model with another order of expressions.
    """
    try:
        metadata = json.loads((folder / METADATA_FILE).read_text())
        config = from_plain(FusionConfig, metadata["config"], "config")
        seeds = metadata.get("seeds", [config.seed])  # not in the files of earlier versions, which had one
        models = [_load(folder / _weights_file(number), metadata, replace(config, seed=seed)) for number, seed in enumerate(seeds)]
        provenance = TrainingProvenance(**{name: frozenset(names) for name, names in metadata["provenance"].items()})
    except FileNotFoundError as error:
        raise DataError(f"{folder}: has no {METADATA_FILE} and {WEIGHTS_FILE}; pass the folder of a trained fusion model") from error
    except (ConfigError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{folder}: is not a complete fusion model: {' '.join(str(error).split())[:200]}") from error
    if metadata["expressions"] != list(EXPRESSIONS):
        raise DataError(f"{folder}: was trained for {', '.join(metadata['expressions'])}, not {', '.join(EXPRESSIONS)}; train it again")
    return TrainedFusion(model=models[0], other_seeds=tuple(models[1:]), provenance=provenance, curve=metadata["curve"])


def _weights_file(number: int) -> str:
    return f"fusion-{number}.safetensors" if number else WEIGHTS_FILE


def _load(path: Path, metadata: dict, config: FusionConfig) -> GatedFusion:
    model = GatedFusion(metadata["visual"], metadata["speech"], config)
    model.load_state_dict(load_file(path))
    return model.eval()


def logits_table(
    frames: Frames,
    rows: Int[np.ndarray, " rows"],
    logits: Float[np.ndarray, "rows 8"],
    gate: Float[np.ndarray, " rows"],
    fold: Int[np.ndarray, " rows"],
) -> pa.Table:
    """``LOGITS`` rows of these frames; NaN marks a frame that no model can score."""
    subjects = [frames.subjects[index] for index in frames.subject_index[rows]]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(logits.astype(np.float32).ravel()), len(EXPRESSIONS))
    columns = {
        "video": pa.array([one.video for one in subjects], pa.string()),
        "track": pa.array([one.track for one in subjects], pa.string()),
        "frame": pa.array(frames.frame[rows]),
        "fold": pa.array(fold.astype(np.int32)),
        "logits": vectors,
        "gate": pa.array(gate.astype(np.float32)),
    }
    return schema.conform(pa.table(columns), schema.LOGITS, stage="fusion")
