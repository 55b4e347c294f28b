"""The rates that plans use; ``CPU`` is printed by the benchmark that its source names."""

from abaw_ray.predict.estimate.rates import GpuRates, Rates

CPU = Rates(
    source="measured 2026-11-28 on Intel Xeon, one core of a shared machine, by python -m tools.bench.analyze --quick",
    frame_ms=0.748,
    megapixel_ms=5.44,
    sound_ms=25.0,
    image_ms=0.64,
    gflop_ms=7.84,
    speech_ms=4.33,
    speech_gflop_ms=9.5,
    row_ms=1.53,
    encode_ms=30.1,
    csv_bytes=220.0,
    parquet_bytes=31.1,
    parquet_base_bytes=64200.0,
    page_bytes=30.7,
    page_base_bytes=61400.0,
    encoded_bytes=7120.0,
    chip_bytes=0.112,
)

H200 = GpuRates(
    source="measured 2026-11-26 on one NVIDIA H200 with four CPUs, by python -m tools.bench.gpu",
    frames_per_s=531.0,
    frame_gflop=489.0,
)
"""ViT-L/14 at 224 pixels and three scales, Wav2Vec 2.0 base, random weights (``docs/performance.md``)."""
