"""Properties of the synthetic faces and voices before encoding."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from abaw_ray.core.expressions import ENCODER_CLASSES, EXPRESSIONS
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.face.action_units import ACTION_UNITS, EXPRESSION_VARIANTS, UNIT_INDEX, sample_activations
from abaw_ray.data.synthetic.face.face import Head, Pose, face_box
from abaw_ray.data.synthetic.face.identity import make_identity
from abaw_ray.data.synthetic.face.occluders import OCCLUDERS, render_occluder
from abaw_ray.data.synthetic.scene.animation import animate
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.scene.stills import ALIGNED_SIZE, PHOTO_SIZE, render_aligned, render_photo
from abaw_ray.data.synthetic.script import ExpressionSegment, make_script
from abaw_ray.data.synthetic.voice.prosody import SPEAKING_STYLES
from abaw_ray.data.synthetic.voice.voice import sample_prosody, synthesize
from abaw_ray.media.audio import RATE

CONFIG = SyntheticConfig(train_subjects=10, val_subjects=4, test_subjects=2, video_duration_s=3.0, segment_duration_s=(0.5, 1.2))


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [Scene(CONFIG, video) for video in make_script(CONFIG)[:4]]


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - width * height)


def test_every_class_has_a_facial_expression_and_all_but_contempt_a_speaking_style():
    assert set(EXPRESSION_VARIANTS) == {*EXPRESSIONS, *ENCODER_CLASSES}
    assert set(SPEAKING_STYLES) == set(EXPRESSIONS)
    assert all(set(form) <= set(ACTION_UNITS) for forms in EXPRESSION_VARIANTS.values() for form in forms)


def test_contempt_is_one_sided_and_on_either_side():
    sides = {np.sign(sample_activations(np.random.default_rng(seed), "Contempt")[UNIT_INDEX["side"]]) for seed in range(20)}
    assert sides == {-1.0, 1.0}


def test_opencv_detects_at_least_nine_of_ten_unoccluded_faces_at_their_position(scenes):
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    detected = total = 0
    for scene in scenes:
        animations = scene.animations()
        for at, image in enumerate(scene.frames()):
            if at % 6:
                continue
            gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            boxes = [(x, y, x + w, y + h) for x, y, w, h in cascade.detectMultiScale(gray, 1.1, 3, minSize=(36, 36))]
            for identity, animation in zip(scene.identities, animations, strict=True):
                if animation.occlusion[at] == "":
                    total += 1
                    detected += any(overlap(box, face_box(identity, animation.poses[at])) > 0.5 for box in boxes)
    assert total > 30
    assert detected / total >= 0.9


def test_rendering_is_deterministic_and_differs_with_the_seed(scenes):
    again, other = Scene(CONFIG, scenes[1].video), Scene(replace(CONFIG, seed=1), scenes[1].video)
    first = np.stack(list(scenes[1].frames()))
    np.testing.assert_array_equal(first, np.stack(list(again.frames())))
    np.testing.assert_array_equal(scenes[0].audio()[0], Scene(CONFIG, scenes[0].video).audio()[0])
    np.testing.assert_array_equal(scenes[1].labels(0), again.labels(0))
    assert not np.array_equal(first[0], next(other.frames()))


def test_frames_are_rgb_images_of_the_frame_size_one_per_time(scenes):
    for scene in scenes[:2]:
        frames = list(scene.frames())
        assert len(frames) == len(scene.times)
        assert {(frame.shape, frame.dtype) for frame in frames} == {((240, 320, 3), np.dtype(np.uint8))}


def test_an_expression_activates_its_action_units_in_its_segment_and_a_faint_one_does_so_less():
    times, identity = np.arange(0, 4, 0.05), make_identity(0, "someone")
    activation = {}
    for occlusion in ("", "faint"):
        script = (
            ExpressionSegment(start=0, stop=2, expression="Neutral", occlusion="", audio="clear"),
            ExpressionSegment(start=2, stop=4, expression="Happiness", occlusion=occlusion, audio="clear"),
        )
        activation[occlusion] = animate(generator(0, "x"), CONFIG, identity, script, times, np.zeros(len(times)), 0, 1).activations[
            :, UNIT_INDEX["corner"]
        ]
    assert activation[""][times > 2.5].mean() > activation[""][times < 1.5].mean() + 0.4
    assert activation["faint"][times > 2.5].mean() < activation[""][times > 2.5].mean() - 0.3


def test_talking_opens_the_mouth():
    times, identity = np.arange(0, 2, 0.05), make_identity(0, "someone")
    script = (ExpressionSegment(start=0, stop=2, expression="Neutral", occlusion="", audio="clear"),)
    talk = (np.sin(2 * np.pi * times) > 0).astype(float)
    jaw = animate(generator(0, "x"), CONFIG, identity, script, times, talk, 0, 1).activations[:, UNIT_INDEX["jaw"]]
    assert jaw[talk > 0].mean() > jaw[talk == 0].mean() + 0.1


def test_a_head_outside_the_image_is_clipped_or_leaves_the_image_unchanged():
    head, blank = Head(make_identity(0, "someone")), np.full((120, 160, 3), 99, np.uint8)
    for x, y, visible in ((0.0, 60.0, True), (159.0, 110.0, True), (-500.0, 60.0, False), (80.0, 900.0, False)):
        image = blank.copy()
        head.render(image, Pose(x=x, y=y, size=30), np.zeros(len(ACTION_UNITS)))
        assert (image != blank).any() == visible


@pytest.mark.parametrize("kind", OCCLUDERS)
def test_occluders_change_the_image_over_the_face(kind):
    identity, pose = make_identity(0, "someone"), Pose(x=80, y=60, size=30)
    image = np.zeros((120, 160, 3), np.uint8)
    render_occluder(image, kind, identity, pose, (0.1, 0.0), (200, 200, 200))
    x0, y0, x1, y1 = map(int, face_box(identity, pose))
    assert (image[y0:y1, x0:x1] > 0).mean() > 0.15


def test_stills_have_the_sizes_of_their_data_sets_and_landmarks_inside_the_face_box():
    still, crop = render_photo(CONFIG, "a", "Fear"), render_aligned(CONFIG, "b", "Fear")
    assert still.image.shape == (PHOTO_SIZE[1], PHOTO_SIZE[0], 3) and crop.image.shape == (ALIGNED_SIZE[1], ALIGNED_SIZE[0], 3)
    x0, y0, x1, y1 = still.box
    inside = (still.landmarks > (x0, y0)) & (still.landmarks < (x1, y1 + 0.2 * (y1 - y0)))
    assert still.landmarks.shape == (68, 2) and inside.all()
    np.testing.assert_array_equal(still.image, render_photo(CONFIG, "a", "Fear").image)


def test_a_still_without_an_expression_shows_no_face():
    empty, face = render_photo(CONFIG, "c", None), render_photo(CONFIG, "c", "Neutral")
    assert not np.array_equal(empty.image, face.image)
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    assert len(cascade.detectMultiScale(cv2.cvtColor(empty.image, cv2.COLOR_RGB2GRAY), 1.1, 3)) == 0


def test_mean_pitch_and_loudness_carry_little_information_on_the_expression():
    identity = make_identity(0, "someone")
    pitches = {}
    for name in ("Anger", "Sadness", "Happiness", "Surprise"):
        script = (ExpressionSegment(start=0, stop=3, expression=name, occlusion="", audio="clear"),)
        prosodies = [sample_prosody(generator(seed, name), identity, script, 3.0) for seed in range(20)]
        pitches[name] = np.mean([np.log2(prosody.pitch[prosody.loudness_curve > 0]).mean() for prosody in prosodies])
        level = [np.sqrt((synthesize(generator(seed, "s"), identity, prosody, 3 * RATE) ** 2).mean()) for seed, prosody in enumerate(prosodies[:3])]
        assert max(level) < 2 * min(level)
    assert np.ptp(list(pitches.values())) < 0.12  # octaves; people differ by more than one


def test_a_silent_segment_has_no_voice_and_anger_has_more_high_frequencies_than_sadness():
    identity = make_identity(0, "someone")
    silent = ExpressionSegment(start=0, stop=1, expression="Anger", occlusion="", audio="silent")
    prosody = sample_prosody(generator(0, "v"), identity, (silent, replace(silent, start=1, stop=2, audio="clear")), 2.0)
    wave = synthesize(generator(0, "w"), identity, prosody, 2 * RATE)
    assert np.abs(wave[: int(0.98 * RATE)]).max() == 0 and np.abs(wave[RATE:]).max() > 0

    def high_frequency_share(name):
        spoken = sample_prosody(generator(0, name), identity, (replace(silent, expression=name, audio="clear", stop=2),), 2.0)
        power = np.abs(np.fft.rfft(synthesize(generator(0, "w"), identity, spoken, 2 * RATE))) ** 2
        hertz = np.fft.rfftfreq(2 * RATE, 1 / RATE)
        return power[hertz > 1500].sum() / power.sum()

    assert high_frequency_share("Anger") > 3 * high_frequency_share("Sadness")
