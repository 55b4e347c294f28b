"""What fusion leaves behind: a model as a folder of ``fusion.safetensors`` and ``fusion.json``, scores as a ``LOGITS`` table."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.settings import to_plain
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.model import FusionConfig, GatedFusion
from abaw_ray.fusion.train import Seen, TrainedFusion
from abaw_ray.training.config import LossConfig, OptimConfig

MODEL_FILE, ABOUT_FILE = "fusion.safetensors", "fusion.json"


def save_fusion(folder: Path, trained: TrainedFusion) -> None:
    """Write the model, its standardisation, its settings and whom it has seen into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model = trained.model
    save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, folder / MODEL_FILE)
    about = {
        "expressions": list(EXPRESSIONS),
        "visual": model.widths[0],
        "speech": model.widths[1],
        "config": to_plain(model.config),
        "seen": {name: sorted(getattr(trained.seen, name)) for name in ("names", "sources", "encoder")},
        "curve": trained.curve,
    }
    (folder / ABOUT_FILE).write_text(json.dumps(about, indent=1))


def load_fusion(folder: Path) -> TrainedFusion:
    """A saved model, in evaluation mode on the CPU.

    Raises:
        DataError: the folder does not hold a whole saved model, or one of another order of expressions.
    """
    try:
        about = json.loads((folder / ABOUT_FILE).read_text())
        config = about["config"]
        optim = OptimConfig(**{**config["optim"], "betas": tuple(config["optim"]["betas"])})
        model = GatedFusion(about["visual"], about["speech"], FusionConfig(**{**config, "optim": optim, "loss": LossConfig(**config["loss"])}))
        model.load_state_dict(load_file(folder / MODEL_FILE))
        seen = Seen(**{name: frozenset(names) for name, names in about["seen"].items()})
    except FileNotFoundError as error:
        raise DataError(f"{folder}: holds no {ABOUT_FILE} and {MODEL_FILE}; give the folder of a trained fusion model") from error
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise DataError(f"{folder}: is not a whole saved fusion model: {' '.join(str(error).split())[:200]}") from error
    if about["expressions"] != list(EXPRESSIONS):
        raise DataError(f"{folder}: was trained for {', '.join(about['expressions'])}, not {', '.join(EXPRESSIONS)}; train it again")
    return TrainedFusion(model=model.eval(), seen=seen, curve=about["curve"])


def logits_table(
    frames: Frames,
    rows: Int[np.ndarray, " rows"],
    logits: Float[np.ndarray, "rows 8"],
    gate: Float[np.ndarray, " rows"],
    fold: Int[np.ndarray, " rows"],
) -> pa.Table:
    """``LOGITS`` rows of these frames; NaN marks a frame that no model could score."""
    person = [frames.people[index] for index in frames.person[rows]]
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(logits.astype(np.float32).ravel()), len(EXPRESSIONS))
    columns = {
        "video": pa.array([one.video for one in person], pa.string()),
        "track": pa.array([one.track for one in person], pa.string()),
        "frame": pa.array(frames.frame[rows]),
        "fold": pa.array(fold.astype(np.int32)),
        "logits": vectors,
        "gate": pa.array(gate.astype(np.float32)),
    }
    return schema.conform(pa.table(columns), schema.LOGITS, stage="fusion")
