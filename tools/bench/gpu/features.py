"""Feature extraction on one GPU: the encoder alone, chips from JPEG to embeddings, audio, and a whole video."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from abaw_ray.core import schema
from abaw_ray.encoder.checkpoint import save_encoder
from abaw_ray.encoder.model import Encoder, build_encoder
from abaw_ray.faces.chips import encode_jpeg
from abaw_ray.features.config import DeviceConfig, FeaturesConfig, SpeechConfig
from abaw_ray.features.extract import ExtractFeatures
from abaw_ray.media.audio import RATE, Audio
from abaw_ray.training.loop import Prefetcher
from tools.bench.gpu.work import Work, median_seconds, share_of_ceiling, synthetic_images

_FPS = 30


def measure_features(work: Work, raw: dict) -> dict:
    """Measure images, chips, seconds of audio, and frames of a video per second."""
    encoder, speech = _models(work)
    device = DeviceConfig(decode_workers=work.cpus - 1, compile="auto")  # as in a job
    unprepared = _forward(work, _as_built(work, encoder), device)
    jpegs = [encode_jpeg(image, work.chips.quality) for image in synthetic_images(work.chips.max_side)]
    chips = [jpegs[row % len(jpegs)] for row in range(work.frames)]
    config = FeaturesConfig(speech=SpeechConfig(weights=str(speech)))
    extract = ExtractFeatures(config, work.chips, work.folder / "encoder", device)
    forward = _forward(work, extract.visual.encoder, device)
    by_workers = {}
    for count in sorted({0, 1, 2, work.cpus - 1, 2 * work.cpus - 1}):
        extract.visual.readers = Prefetcher(count)
        extract.visual(chips[:256])
        by_workers[count] = _per_second(lambda: extract.visual(chips), work.frames)
        extract.visual.readers.close()
    extract.visual.readers = Prefetcher(device.decode_workers)
    times = np.arange(work.frames) / _FPS
    rng = np.random.default_rng(0)
    audio = Audio(rng.normal(0, 0.1, (round((times[-1] + 1) * RATE),)).astype(np.float32), 0.0)
    extract.speech(audio, times)
    speech_rate = _per_second(lambda: extract.speech(audio, times), len(audio.samples) / RATE)
    faces = _faces(chips, times)
    stage = _per_second(lambda: extract(faces, audio), work.frames)
    scales = len(work.chips.scales)
    return {
        "unprepared_images_per_second": unprepared,
        "forward_images_per_second": forward,
        "forward_of_unprepared": forward / unprepared,
        "forward_of_ceiling": share_of_ceiling(forward, 1, raw),
        "chips_per_second": by_workers[work.cpus - 1],
        "chips_of_forward": by_workers[work.cpus - 1] * scales / forward,
        "chips_per_second_by_decode_workers": by_workers,
        "speech_per_second": speech_rate,
        "stage_frames_per_second": stage,
        "stage_of_forward": stage * scales / forward,
        "jpeg_kb": sum(map(len, jpegs)) / len(jpegs) / 1000,
    }


def _models(work: Work) -> tuple[Encoder, Path]:
    """Return an encoder and the path of a Wav2Vec 2.0 base, both with random weights and saved in the formats that the stage loads."""
    encoder = build_encoder(replace(work.encoder.model, drop_path_rate=0.0))
    save_encoder(work.folder / "encoder", encoder)
    tiny_config = Wav2Vec2Config(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_conv_pos_embedding_groups=4)
    Wav2Vec2Model(Wav2Vec2Config() if work.bf16 else tiny_config).save_pretrained(work.folder / "speech")
    return encoder, work.folder / "speech"


def _as_built(work: Work, encoder: Encoder) -> Encoder:
    """Return the encoder in the stage's precision, and otherwise as it was built: LayerScale not folded, blocks not compiled."""
    encoder = encoder.eval().to(work.device)
    if work.bf16:
        encoder.vit.to(torch.bfloat16)
    return encoder


@torch.inference_mode()
def _forward(work: Work, encoder: Encoder, device: DeviceConfig) -> float:
    """Return images per second of an encoder alone, pixels on the GPU, with the stage's batch size."""
    pixels = torch.randint(0, 256, (device.visual_batch_size, 3, encoder.img_size, encoder.img_size), dtype=torch.uint8, device=work.device)
    return device.visual_batch_size / median_seconds(lambda: encoder(pixels), 20)


def _per_second(call: Callable[[], object], amount: float) -> float:
    start = time.perf_counter()
    call()
    return amount / (time.perf_counter() - start)


def _faces(chips: list[bytes], times: np.ndarray) -> pa.Table:
    """Return ``FACE`` rows of one person who is detected in every frame."""
    count = len(chips)
    values = {
        "video": ["bench"] * count,
        "track": [""] * count,
        "frame": np.arange(1, count + 1),
        "time": times,
        "shot": np.zeros(count, np.int32),
        "chip": chips,
        "seen": [True] * count,
    }
    columns = [pa.array(values[field.name], field.type) if field.name in values else pa.nulls(count, field.type) for field in schema.FACE]
    return pa.Table.from_arrays(columns, names=schema.FACE.names)
