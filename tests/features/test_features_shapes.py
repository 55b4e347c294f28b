"""Arrays of wrong shape or type are refused by the checks of annotated shapes."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from abaw_ray.features.baselines import first_of_interval, pitch_and_energy
from abaw_ray.features.config import RandomWav2VecConfig, SpeechConfig
from abaw_ray.features.speech import SpeechFeatures, has_audio

SMALL = RandomWav2VecConfig(conv_dim=16, hidden_size=32, num_hidden_layers=1)


@pytest.mark.parametrize("times", [np.zeros((4, 1)), np.arange(4)])
def test_times_that_are_not_one_row_of_floats_are_refused(times, speech):
    for call in (
        lambda: has_audio(speech, times, 1.0),
        lambda: first_of_interval(times, 0.5),
        lambda: pitch_and_energy(speech, times, 1.0),
        lambda: SpeechFeatures(SpeechConfig(weights="random", random=SMALL))(speech, times),
    ):
        with pytest.raises(TypeCheckError):
            call()


def test_states_of_samples_in_double_precision_are_refused():
    model = SpeechFeatures(SpeechConfig(weights="random", random=SMALL)).model
    with pytest.raises(TypeCheckError):
        model.states(np.zeros((1, 4000)), "mean")
