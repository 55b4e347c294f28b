"""Estimates of time and output: the arithmetic of models, sums over videos, extrapolation from a sample, and the sentences of the plan."""

from dataclasses import replace

import pytest
from tiny_bundle import write_tiny_bundle

from abaw_ray.features.config import SpeechConfig
from abaw_ray.media.playback.header import VideoHeader
from abaw_ray.predict.bundle.store import open_bundle
from abaw_ray.predict.config import AnalysisConfig, ClassifierConfig, OutputConfig
from abaw_ray.predict.estimate import model as models
from abaw_ray.predict.estimate.cost import Estimate, Totals, estimate, extrapolated, image_totals, totals
from abaw_ray.predict.estimate.measured import CPU, H200
from abaw_ray.predict.estimate.model import ModelCost, model_cost, speech_gflop, transformer_gflop
from abaw_ray.predict.estimate.text import Sample, Workers, input_line, output_line, time_lines

HEADER = VideoHeader(duration_s=10, width=1280, height=720, fps=30, has_audio=True, plays=True)
MODEL = ModelCost(images=3, image_gflop=163, speech_gflop=20, chip_side=380)
RATES = replace(CPU, frame_ms=1, megapixel_ms=2, sound_ms=5, image_ms=1, gflop_ms=10, speech_ms=0, speech_gflop_ms=2, row_ms=4, encode_ms=8)


def cost(header=HEADER, model=MODEL, outputs=None, fps=0.0, gpu=None, count=1):
    outputs = outputs or OutputConfig()
    sums = totals(header, AnalysisConfig(fps=fps), outputs).times(count)
    return estimate(sums, count, model, outputs, AnalysisConfig(fps=fps), RATES, gpu)


def test_dinov2_vit_l_and_wav2vec_base_have_their_published_arithmetic():
    assert transformer_gflop(304.4e6, 257, 1024) == pytest.approx(162, rel=0.02)
    once = SpeechConfig(margin_s=0.5, chunk_s=20.0)
    assert speech_gflop(models.BASE_SPEECH, once) == pytest.approx(15.7 * 20 / 19, rel=0.1)


def test_audio_that_passes_twice_at_the_margins_counts_twice():
    narrow, wide = (speech_gflop(models.BASE_SPEECH, SpeechConfig(chunk_s=20, margin_s=margin)) for margin in (1.0, 5.0))
    assert wide / narrow == pytest.approx((20 / 10) / (20 / 18))


def test_the_arithmetic_of_a_bundle_follows_from_its_files(tmp_path):
    (tmp_path / "bundle").mkdir()
    write_tiny_bundle(tmp_path / "bundle", tmp_path / "parts")
    with open_bundle(str(tmp_path / "bundle")) as bundle:
        found = model_cost(bundle.folder, bundle.metadata)
        expected = bundle.metadata.files["encoder/model.safetensors"].size / 4
        windows = replace(bundle.metadata.features.speech, mode="windows")
        separate = model_cost(bundle.folder, replace(bundle.metadata, features=replace(bundle.metadata.features, speech=windows)))
        classifier = ClassifierConfig(framework="timm", labels=("a", "b"), expressions=("Anger", "Fear"), resize=32, input_size=32)
        image = model_cost(bundle.folder, replace(bundle.metadata, kind="image", classifier=classifier))
    assert found.images == 2 and found.chip_side == 38
    assert found.image_gflop == pytest.approx(2e-9 * expected * 5, rel=0.1)  # 28 pixels: four patches and the class token
    assert found.speech_gflop > 0 and found.speech_window_s == 0
    assert separate.speech_window_s == 1.0
    assert (image.images, image.speech_gflop) == (1, 0.0)


def test_the_sums_of_a_video_follow_from_its_header():
    sums = totals(HEADER, AnalysisConfig(), OutputConfig())
    assert (sums.seconds, sums.frames, sums.scored, sums.audio_s) == (10, 300, 300, 10)
    assert sums.megapixels == pytest.approx(300 * 0.9216) == pytest.approx(sums.overlay_megapixels)
    assert sums.proxy_megapixels == 0
    large = totals(replace(HEADER, width=2560, height=1440, plays=False, has_audio=False), AnalysisConfig(fps=5.0), OutputConfig())
    assert large.proxy_megapixels == pytest.approx(sums.megapixels)  # shrunk to 1280 pixels
    assert (large.audio_s, large.scored) == (0, 51)
    assert image_totals(7).frames == 7


def test_of_a_part_only_its_frames_are_scored_and_frames_after_it_are_not_decoded():
    part = totals(replace(HEADER, plays=False), AnalysisConfig(start=4.0, end=6.0), OutputConfig())
    assert (part.frames, part.scored, part.audio_s) == (180, 60, 10)
    assert part.overlay_megapixels == pytest.approx(60 * 0.9216)
    assert part.proxy_megapixels == pytest.approx(180 * 0.9216)
    assert totals(HEADER, AnalysisConfig(start=20.0, fps=2.0), OutputConfig()).scored == 0


def test_a_sample_is_extrapolated_by_the_size_of_the_files():
    sums = [totals(replace(HEADER, duration_s=seconds), AnalysisConfig(), OutputConfig()) for seconds in (10, 30)]
    assert extrapolated(sums, 4e6, 40e6).seconds == pytest.approx(400)
    assert extrapolated([], 0, 40e6) == Totals()


def test_the_time_is_the_sum_of_the_rates():
    found = cost()
    assert found.find_s == pytest.approx(0.3 + 2 * 300 * 0.9216 / 1e3 + 0.05)
    assert found.score_s == pytest.approx({"encoder": 300 * 3 * (1 + 1630) / 1e3, "speech": 10 * 40 / 1e3, "tables and pages": 1.2})
    assert found.gpu_s == 0


def test_fewer_frames_cost_less_only_after_the_faces():
    every, few = cost(), cost(fps=5.0)
    assert few.find_s == every.find_s and few.score_s["speech"] == every.score_s["speech"]
    assert few.score_s["encoder"] == pytest.approx(every.score_s["encoder"] * 51 / 300)
    assert few.written["CSV"] == pytest.approx(every.written["CSV"] * 51 / 300)


def test_separate_windows_of_audio_cost_by_the_frame():
    assert cost(model=replace(MODEL, speech_window_s=1.0)).score_s["speech"] == pytest.approx(300 * 40 / 1e3)


def test_only_wanted_files_count():
    assert cost(outputs=OutputConfig(format="parquet", report=False)).written.keys() == {"Parquet", "cache"}
    found = cost(HEADER, outputs=OutputConfig(overlay=True))
    assert found.written.keys() == {"CSV", "pages", "overlays", "cache"}
    assert found.score_s["videos"] == pytest.approx(300 * 0.9216 * 8 / 1e3)
    assert "proxies" in cost(replace(HEADER, plays=False)).written


def test_a_rate_of_a_gpu_is_used_only_for_a_model_of_its_size():
    same, other = cost(gpu=H200), cost(gpu=H200, model=replace(MODEL, images=1))
    assert same.gpu_s == pytest.approx(300 / 531) and other.gpu_s is None
    assert same.score_s.keys() == {"tables and pages"}


def test_the_sentences_name_sample_workers_and_source():
    sample = Sample(videos=5000, images=0, read=64, unreadable=2, no_duration=1)
    assert input_line(sample, Totals(seconds=7200, frames=216000), 3e9) == (
        "about 2.0 h of video, 216,000 frames, 3.0 GB; estimated from 64 of 5,000 videos; 2 of 64 cannot be opened; 1 of 64 state no duration"
    )
    found = Estimate(find_s=3600, score_s={"encoder": 7200})
    first, second = time_lines(found, Totals(seconds=7200), Workers(find=2, score=2, gpu=False), "measured here", "there")
    assert first == "about 1.5 h on 2 workers, 3.0 h of one CPU core: faces 1.0 h, encoder 2.0 h"
    assert second == "1.5 s of one CPU core per second of video, with one person per frame; measured here"
    assert output_line({"CSV": 2e6, "cache": 1e6}, 5e5) == (
        "writes about 3.0 MB: CSV 2.0 MB, cache 1.0 MB; face crops of 500 kB at a time, deleted as soon as they are scored"
    )


def test_the_slower_half_determines_the_time_with_gpus():
    found = Estimate(find_s=3600, score_s={"tables and pages": 60}, gpu_s=540)
    first, _ = time_lines(found, Totals(seconds=7200), Workers(find=4, score=1, gpu=True), "measured here", "measured there")
    assert first == "about 15.0 min: faces 15.0 min on 4 workers, scores 10.0 min on 1 GPU worker at the same time; measured there"
    first, _ = time_lines(replace(found, gpu_s=None), Totals(seconds=7200), Workers(find=4, score=1, gpu=True), "here", "there")
    assert "not measured" in first
