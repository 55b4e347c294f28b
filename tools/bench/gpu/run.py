"""What of a GPU the two dear stages use: training ViT-L/14 and encoding chips with it, beside the card's own matrix product and bare PyTorch.

python -m tools.bench.gpu --json tools/benchmarks/gpu-2026-01-31-card.json

Weights are random and pictures drawn: nothing is downloaded, and the time of a step depends on neither. All is measured in one run on one
card, on the code that the jobs run; the last part runs the encoder's training through Ray Train.
"""

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from abaw_ray.core.errors import AbawError, ConfigError
from tools.bench.gpu.features import extracting
from tools.bench.gpu.training import through_ray, training
from tools.bench.gpu.work import Work, ceiling
from tools.bench.table import measure_parts, metadata, show_rows, write_rows

Part = Literal["ceiling", "training", "ray", "features"]
FIGURES = (
    ("tflops", ("ceiling", "tflops"), "", "TFLOP/s of a large bf16 matrix product on random data: the card's ceiling"),
    ("plain_of_ceiling", ("training", "plain_of_ceiling"), "", "training in bare PyTorch, pixels on the card: share of the ceiling"),
    ("zero_of_plain", ("training", "zero_of_plain"), ">= 0.95", "our step through DeepSpeed, pixels on the card / bare PyTorch"),
    ("read_of_zero", ("training", "read_of_zero"), ">= 0.95", "our step with images read and changed ahead of it / pixels on the card"),
    ("ray_of_plain", ("ray", "ray_of_plain"), ">= 0.9", "an epoch's steps under Ray Train / bare PyTorch"),
    ("train_images_per_s", ("ray", "images_per_second"), ">= 810", "images a second of training under Ray Train"),
    ("checkpoint_s", ("training", "checkpoint_s"), "", "seconds to write a checkpoint to the local disk, one rank"),
    ("checkpoint_gb", ("training", "checkpoint_gb"), "", "its size"),
    ("forward_of_ceiling", ("features", "forward_of_ceiling"), "", "the encoder alone, pixels on the card: share of the ceiling"),
    ("chips_of_forward", ("features", "chips_of_forward"), ">= 0.9", "chips from JPEG to vectors, three scales / the encoder alone"),
    ("chips_per_s", ("features", "chips_per_second"), ">= 1050", "chips a second so"),
    ("voice_per_s", ("features", "voice_per_second"), "", "seconds of sound a second through Wav2Vec 2.0 base, mode context"),
    ("stage_of_forward", ("features", "stage_of_forward"), "", "a whole video's features, sound and table too / the encoder alone"),
)
"""Key, place among the raw figures, aim (ours; FLOOR of the method's costs for one H200), and what it is."""


def main(
    json: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
    only: tuple[Part, ...] = (),
    cpus: int = 4,
    tiny: bool = False,
) -> int:
    """Measure what of a GPU is used.

    Args:
        json: A file for all figures.
        only: The parts to measure; all without it.
        cpus: CPUs of a worker, all but one of which read images ahead.
        tiny: A small model and few steps, on a CPU too: whether it runs, not how fast.
    """
    try:
        if not (tiny or torch.cuda.is_available()):
            raise ConfigError("this process sees no GPU; --tiny runs on a CPU to see whether it runs")
        with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
            work = Work.tiny(Path(folder), cpus) if tiny else Work(folder=Path(folder), cpus=cpus)
            raw: dict = {}
            parts = {
                "ceiling": lambda: ceiling(work),
                "training": lambda: training(work, raw),
                "ray": lambda: through_ray(work, raw),
                "features": lambda: extracting(work, raw),
            }
            measure_parts(parts, only, raw, lambda: json and write_rows(json, FIGURES, about(only, cpus), raw))
        show_rows(FIGURES, raw)
    except AbawError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def about(only: tuple[Part, ...], cpus: int) -> dict:
    """What must be known of a run to compare it with another."""
    command = f"python -m tools.bench.gpu --cpus {cpus}" + (f" --only {' '.join(only)}" if only else "")
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"command": command, "card": card, **metadata("torch", "timm", "transformers", "deepspeed")}
