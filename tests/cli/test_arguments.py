"""Arguments in, settings or one line of error out: every command, as a user types it."""

from dataclasses import replace

import pytest

from abaw_ray.cli.analyze import LINE
from abaw_ray.cli.arguments import parse
from abaw_ray.cli.jobs import JOBS, command_line, settings_of
from abaw_ray.cli.options import SHORT, options_of
from abaw_ray.cluster.launch.presets import DEMO, PAPER, PRESETS
from abaw_ray.cluster.machines.compute import ComputeConfig, compute_preset
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import digest


def refused(command: str) -> str:
    """The error of a command line, without its own name; one line."""
    name, *args = command.split()
    with pytest.raises(ConfigError) as caught:
        settings_of(name, args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def settings(command: str):
    name, *args = command.split()
    return settings_of(name, args)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", JOBS)
def test_the_command_line_gives_each_preset_of_a_job_unchanged(name, preset):
    expected = JOBS[name].presets[preset][1]
    assert digest(settings(f"{name} {preset}")) == digest(settings(f"{name} --preset {preset}")) == digest(expected)


@pytest.mark.parametrize("name", [name for name in JOBS if name != "faces"])
def test_a_missing_preset_is_named_with_the_choices_and_an_example(name):
    assert refused(name) == f"abaw-ray {name}: no preset is given; choose one of paper, demo, smoke, for example: abaw-ray {name} smoke"


def test_faces_of_a_video_need_no_preset_and_have_the_settings_of_the_paper():
    job = settings("faces clip.mp4 -o out")
    assert (job.data.videos, job.storage.uri) == (("clip.mp4",), "out")
    assert digest(job.faces) == digest(PAPER.faces) and job.compute == ComputeConfig()


def test_faces_without_videos_are_refused_with_an_example():
    assert refused("faces -o out").endswith("name a video, a folder, a glob or a list: abaw-ray faces clip.mp4 -o out")


@pytest.mark.parametrize("line", ["faces a.mp4 b.mp4 --plan", "faces --plan --videos a.mp4 b.mp4", "faces a.mp4 --data.videos=b.mp4 --plan"])
def test_videos_are_words_or_the_values_of_an_option_as_a_shell_expands_a_glob(line):
    job = settings(line)
    assert sorted(job.data.videos) == ["a.mp4", "b.mp4"] and job.plan


def test_features_take_a_preset_and_videos():
    job = settings("features s3://bucket/videos demo")
    assert job.data.videos == ("s3://bucket/videos",) and digest(job.faces) == digest(DEMO.faces)


def test_a_word_that_is_a_preset_and_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert refused("faces demo").endswith("a preset and a file have this name; write --preset demo or ./demo")
    assert settings("faces ./demo").data.videos == ("./demo",)
    assert settings("faces --preset demo").data.use_synthetic and settings("pipeline demo").data.use_synthetic


def in_analyze_only(full):
    return full.startswith(("analysis.", "device.", "outputs."))


@pytest.mark.parametrize("full", [full for full in SHORT if in_analyze_only(full)])
def test_a_short_name_of_analyze_and_the_full_name_set_the_same_setting(full):
    given = {"analysis.people": "main", "device.device": "cpu", "outputs.format": "parquet"}.get(full, "3")
    flag = full in ("outputs.embed", "outputs.overlay", "outputs.report")
    for name in (*SHORT[full], f"--{full}"):
        value = parse(LINE, ["x.mp4", name, *([] if flag else [given])])
        for part in full.split("."):
            value = getattr(value, part)
        assert value is True if flag else str(value) == given.replace("3", "3.0")


def test_a_short_name_of_a_flag_can_be_negated():
    assert not parse(LINE, ["x.mp4", "--no-report"]).outputs.report
    assert parse(LINE, ["x.mp4"]).outputs.report


@pytest.mark.parametrize("short", ["--parts", "--ablation.parts"])
def test_parts_and_seeds_of_an_ablation_have_short_names(short):
    ablation = settings(f"ablation smoke {short} gate audio --seeds 4 5").ablation
    assert ablation.parts == ("gate", "audio") and ablation.seeds == (4, 5)


@pytest.mark.parametrize("full", [full for full in SHORT if not (in_analyze_only(full) or full.startswith("ablation."))])
def test_a_short_name_and_the_full_name_set_the_same_setting(full):
    values = {"faces.detector.kind": "given", "faces.detector.min-score": "0.7", "faces.chips.keep": "none", "policy.max-failures": "0.5"}
    given = "" if full == "policy.retry-failures" else values.get(full, "3")
    boxes = " --faces.detector.boxes boxes.csv" if given == "given" else ""
    for name in (*SHORT[full], f"--{full}"):
        value = settings(f"pipeline demo {name} {given}{boxes}")
        for part in full.replace("-", "_").split("."):
            value = getattr(value, part)
        assert str(value) == {"data.videos": "('3',)", "policy.retry-failures": "True"}.get(full, given)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("faces x --detectr haar", "unknown option --detectr; did you mean --detector? (see abaw-ray faces --help-all)"),
        ("faces x --device cuda", "unknown option --device; did you mean --cluster-size? (see abaw-ray faces --help-all)"),
        ("faces x --out y", "unknown option --out; did you mean --output? (see abaw-ray faces --help-all)"),
        ("faces x --zzz", "unknown option --zzz; see abaw-ray faces --help-all"),
        ("train demo --optim.lr 1", "unknown option --optim.lr; did you mean --encoder.optim.lr? (see abaw-ray train --help-all)"),
        ("train demo --optim.lrr 1", "unknown option --optim.lrr; did you mean --encoder.optim.lr? (see abaw-ray train --help-all)"),
        ("faces x --detector.weights y", "unknown option --detector.weights; did you mean --weights? (see abaw-ray faces --help-all)"),
        (
            "pipeline demo --lr 1",
            "unknown option --lr; did you mean --encoder.optim.lr, --sweep.fusion.optim.lr or --sweep.search-space.lr? "
            "(see abaw-ray pipeline --help-all)",
        ),
        (
            "train demo --folds 3",
            "--folds is an option of pipeline, sweep, predict, ablation and report, not of abaw-ray train; see abaw-ray train --help-all",
        ),
        (
            "faces x --trials 3",
            "--trials is an option of pipeline, sweep, predict, ablation and report, not of abaw-ray faces; see abaw-ray faces --help-all",
        ),
        ("faces x --chips jpg", "--chips jpg: choose jpeg or none"),
        ("faces x --faces.detector.kind=mtcnn", "--faces.detector.kind mtcnn: choose yunet, haar or given"),
        ("train demo --encoder.optim.lr fast", "--encoder.optim.lr fast: give a number"),
        ("train demo --encoder.epochs 1.5", "--encoder.epochs 1.5: give a whole number"),
        ("train demo --encoder.model.depth x", "--encoder.model.depth x: give a whole number or None"),
        ("features demo --features.speech.layer x", "--features.speech.layer x: give one or more values: INT ...|mean"),
        ("train demo --encoder.optim.betas 0.9", "--encoder.optim.betas 0.9: too few values; give 2 values: FLOAT FLOAT"),
        ("faces x --faces.chips.scales a", "--faces.chips.scales a: give one or more values: FLOAT ..."),
        ("train demo --encoder.optim.lr", "--encoder.optim.lr: has no value; give a number"),
        ("train demo --encoder.optim.lr --plan", "--encoder.optim.lr: has no value; give a number"),
        ("train demo --plan=yes", "--plan: takes no value"),
        ("train demo --plan yes", "abaw-ray train yes: there is no preset 'yes'; choose paper, demo or smoke"),
        ("train demmo", "abaw-ray train demmo: there is no preset 'demmo'; did you mean demo?"),
        ("train --preset demmo", "--preset demmo: there is no preset 'demmo'; did you mean demo?"),
        ("train demo smoke", "abaw-ray train: two presets are given, demo and smoke; choose one"),
        ("train clip.mp4", "abaw-ray train clip.mp4: there is no preset 'clip.mp4'; choose paper, demo or smoke"),
        ("train demo --encoder.epochs 0", "--encoder.epochs 0: epochs=0 must be at least 1"),
        ("sweep demo --sweep.fusion.optim.lr -1 --encoder.optim.lr 1e-4", "--sweep.fusion.optim.lr -1: optim.lr=-1.0 must be above 0"),
        ("sweep demo --encoder.optim.lr -1e0 --sweep.fusion.optim.lr 1e-4", "--encoder.optim.lr -1e0: optim.lr=-1.0 must be above 0"),
        ("faces x --min-score 2", "--min-score 2: detector.keep_score=0.35 must be above 0 and at most min_score=2.0, that below 1"),
        ("sweep demo --faces.chips.size 98", "faces.chips.size=98 is not encoder.model.img_size=70; set both to the encoder's input size"),
        (
            "train demo --cluster-size gpu-4",
            "--cluster-size gpu-4 is unknown; choose laptop, cpu-8 (eight CPUs in all) or gpu-4x2 (four machines with two GPUs each)",
        ),
    ],
)
def test_an_invalid_command_line_is_one_line_that_says_what_to_write(line, message):
    assert refused(line) == message


def test_values_of_every_form_are_taken():
    job = settings(
        "pipeline demo --features.speech.layer -1 --faces.chips.scales 1 1.5 --encoder.model.depth 3 --encoder.optim.betas 0.8 0.9 --no-plan "
        "--data.no-use-synthetic --encoder.zero_stage 2 --sweep.smoothing.min-s=0.2 --sweep.smoothing.kinds mean --encoder.model.embed-dim None"
    )
    assert (job.features.speech.layer, job.faces.chips.scales, job.encoder.model.depth) == (-1, (1.0, 1.5), 3)
    assert (job.encoder.optim.betas, job.plan, job.data.use_synthetic, job.encoder.zero_stage) == ((0.8, 0.9), False, False, 2)
    assert (job.sweep.smoothing, job.encoder.model.embed_dim) == (replace(DEMO.sweep.smoothing, min_s=0.2, kinds=("mean",)), None)


def test_layers_of_the_speech_model_are_one_number_several_or_a_word():
    lines = {"6 7 8": (6, 7, 8), "-2 -1": (-2, -1), "6": 6, "mean": "mean"}
    for words, layer in lines.items():
        assert settings(f"features demo --features.speech.layer {words} --no-plan").features.speech.layer == layer


def test_a_cluster_size_sets_all_of_compute_and_single_options_change_it():
    size = compute_preset("gpu-4x2")
    job = settings("pipeline paper --compute.fusion.workers 3 --cluster-size gpu-4x2")
    assert job.compute == replace(size, fusion=replace(size.fusion, workers=3)) and job.cluster_size == "gpu-4x2"
    assert settings("faces clip.mp4 --cluster-size=laptop").compute == compute_preset("laptop")


@pytest.mark.parametrize("name", JOBS)
def test_every_option_is_accepted_with_its_default_by_its_full_name(name):
    line = command_line(name)
    config = line.presets["demo"][1]
    args = []
    for option in options_of(config).values():
        value = option.default
        if option.is_flag:
            args.append(option.full if value else option.negative)
        elif value != ():  # an option with one or more values cannot be given none
            args += [option.full, *map(str, value)] if isinstance(value, tuple) else [f"{option.full}={value}"]
    assert len(args) > 80
    assert digest(parse(line, ["--preset", "demo", *args])) == digest(config)
