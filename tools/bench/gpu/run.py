"""GPU utilization of the two expensive stages, ViT-L/14 training and feature extraction, against a matrix product and plain PyTorch.

python -m tools.bench.gpu --json tools/benchmarks/gpu-2026-01-31-card.json

Weights are random and images synthetic: nothing is downloaded, and the time of a step does not depend on them. One run measures everything on one
GPU with the code of the jobs; part ``ray`` trains the encoder through Ray Train.
"""

import tempfile
from pathlib import Path
from typing import Literal

import torch

from abaw_ray.core.errors import AbawError, ConfigError
from tools.bench.gpu.features import measure_features
from tools.bench.gpu.training import measure_ray_training, measure_training
from tools.bench.gpu.work import Work, measure_ceiling
from tools.bench.table import JsonFile, command_line, measure_parts, metadata, report_error, show_rows, write_rows

Part = Literal["ceiling", "training", "ray", "features"]
FIGURES = (
    ("tflops", ("ceiling", "tflops"), "", "TFLOP/s of a large bf16 matrix product on random data: the GPU's ceiling"),
    ("plain_of_ceiling", ("training", "plain_of_ceiling"), "", "training in plain PyTorch, pixels on the GPU: share of the ceiling"),
    ("bare_of_ceiling", ("training", "bare_of_ceiling"), "", "bare loop, compiled, float32 master weights, pixels on the GPU: share of the ceiling"),
    ("zero_compiled_of_bare", ("training", "zero_compiled_of_bare"), ">= 0.95", "training step through DeepSpeed, compiled / that bare loop"),
    ("zero_compiled_of_ceiling", ("training", "zero_compiled_of_ceiling"), ">= 0.5", "the same compiled step: share of the ceiling"),
    ("zero_compiled_of_zero", ("training", "zero_compiled_of_zero"), "", "training step through DeepSpeed, compiled / not compiled"),
    ("zero_of_plain", ("training", "zero_of_plain"), ">= 0.95", "training step through DeepSpeed, pixels on the GPU / plain PyTorch"),
    ("zero_of_ddp", ("training", "zero_of_ddp"), ">= 0.95", "that step / DistributedDataParallel with float32 weights and autocast"),
    (
        "synchronizations",
        ("training", "synchronizations_zero_of_plain"),
        "",
        "device values that the host reads in a step, DeepSpeed / plain PyTorch",
    ),
    ("copies", ("training", "copies_zero_of_plain"), "", "copies and conversions of tensors in a step, DeepSpeed / plain PyTorch"),
    ("operators", ("training", "operators_zero_of_plain"), "", "operators in a step, DeepSpeed / plain PyTorch"),
    ("read_of_zero", ("training", "read_of_zero"), ">= 0.95", "that compiled step with prefetched and augmented images / pixels on the GPU"),
    ("data_wait_share", ("training", "data_wait_share"), "<= 0.02", "share of the time in which that step, with prefetched images, waits for them"),
    ("ray_of_plain", ("ray", "ray_of_plain"), ">= 0.9", "steps of an epoch under Ray Train / plain PyTorch"),
    ("train_images_per_s", ("ray", "images_per_second"), ">= 810", "training images per second under Ray Train"),
    ("peak_gb", ("training", "peak_gb"), "", "training: peak of the memory that PyTorch allocates on the GPU, in 10^9 bytes"),
    ("checkpoint_s", ("training", "checkpoint_s"), "", "seconds to write a checkpoint to the local disk, one rank"),
    ("checkpoint_gb", ("training", "checkpoint_gb"), "", "size of the checkpoint"),
    ("forward_of_ceiling", ("features", "forward_of_ceiling"), "", "encoder alone as a job prepares it, pixels on the GPU: share of the ceiling"),
    (
        "forward_of_unprepared",
        ("features", "forward_of_unprepared"),
        "",
        "that encoder / the same with LayerScale not folded and blocks not compiled",
    ),
    ("chips_of_forward", ("features", "chips_of_forward"), ">= 0.92", "chips from JPEG to embeddings, three scales / that encoder alone"),
    ("chips_per_s", ("features", "chips_per_second"), ">= 1050", "chips per second of that"),
    ("speech_per_s", ("features", "speech_per_second"), "", "seconds of audio per second through Wav2Vec 2.0 base, mode context"),
    ("stage_of_forward", ("features", "stage_of_forward"), "", "all features of a video with audio and table / that encoder alone"),
)
"""Key, its two keys in the raw figures, target (ours, for one H200), description."""


def main(
    json: JsonFile = None,
    only: tuple[Part, ...] = (),
    cpus: int = 4,
    tiny: bool = False,
) -> int:
    """Measure the GPU utilization of training and feature extraction.

    Args:
        json: Output file of all figures.
        only: Parts to measure; default all.
        cpus: CPUs of a worker; all but one prefetch images.
        tiny: A small model and few steps, to test the benchmark itself; also on a CPU.
    """
    try:
        if not (tiny or torch.cuda.is_available()):
            raise ConfigError("no GPU is visible; --tiny runs on a CPU to test the benchmark itself")
        with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
            work = Work.tiny(Path(folder), cpus) if tiny else Work(folder=Path(folder), cpus=cpus)
            raw: dict = {}
            parts = {
                "ceiling": lambda: measure_ceiling(work),
                "training": lambda: measure_training(work, raw),
                "ray": lambda: measure_ray_training(work, raw),
                "features": lambda: measure_features(work, raw),
            }
            measure_parts(parts, only, raw, lambda: json and write_rows(json, FIGURES, run_metadata(only, cpus, tiny=tiny), raw))
        show_rows(FIGURES, raw)
    except AbawError as error:
        return report_error(error)
    return 0


def run_metadata(only: tuple[Part, ...], cpus: int, *, tiny: bool) -> dict:
    """Return the command, the GPU, the machine and the versions of a run."""
    command = command_line("tools.bench.gpu", cpus=cpus, tiny=tiny, only=only)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"command": command, "gpu": gpu, **metadata("torch", "timm", "transformers", "deepspeed")}
