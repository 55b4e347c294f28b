"""The rates that plans use; ``CPU`` is printed by the benchmark that its source names."""

from abaw_ray.predict.estimate.rates import GpuRates, Rates

CPU = Rates(
    source="measured 2026-11-28 on Intel(R) Xeon(R) Processor, one core, by python -m tools.bench.analyze",
    frame_ms=0.55,
    megapixel_ms=4.18,
    sound_ms=0.208,
    image_ms=0.422,
    gflop_ms=7.9,
    speech_ms=2.58,
    speech_gflop_ms=7.55,
    row_ms=0.211,
    encode_ms=21.1,
    csv_bytes=218.0,
    parquet_bytes=65.6,
    parquet_base_bytes=61300.0,
    page_bytes=36.7,
    page_base_bytes=63100.0,
    encoded_bytes=5420.0,
    chip_bytes=0.106,
)

H200 = GpuRates(
    source="measured 2026-11-26 on one NVIDIA H200 with four CPUs, by python -m tools.bench.gpu",
    frames_per_s=531.0,
    frame_gflop=489.0,
)
"""ViT-L/14 at 224 pixels and three scales, Wav2Vec 2.0 base, random weights (``docs/performance.md``)."""
