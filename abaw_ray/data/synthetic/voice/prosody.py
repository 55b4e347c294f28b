"""Speaking styles of each expression: rhythm, pitch contour, timbre, tremor. Mean pitch and loudness are independent of the expression.

``voice.py`` synthesizes the samples. All values ours, following the literature on vocal emotion.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SpeakingStyle:
    """One speaking style."""

    rate: float = 4.0
    """Syllables per second."""
    length_jitter: float = 0.12
    """Relative standard deviation of syllable lengths."""
    pause: float = 0.12
    """Probability of a pause after a syllable."""
    pitch_range: float = 2.0
    """Pitch range of a syllable in semitones."""
    melody: str = "fall"
    """Pitch contour of a syllable: fall, rise, arc, dip."""
    tilt: float = 1.3
    """Spectral tilt: the amplitude of harmonic k is k^-tilt. A small tilt sounds sharp, a large one dull."""
    formant_scale: float = 1.0
    """Factor of the formant frequencies: spread lips (above 1) or rounded lips."""
    nasal: float = 0.0
    """Strength of nasality: depth of the spectral notch at 900 Hz and height of the peak at 280 Hz."""
    breathiness: float = 0.0
    """Noise fraction of the source; 1 is a whisper."""
    tremor: float = 0.0
    """Depth of pitch and loudness modulation at 7 to 9 Hz."""
    roughness: float = 0.0
    """Depth of amplitude modulation at half the fundamental frequency."""
    attack: float = 0.3
    """Fraction of a syllable before its loudness peak; small values give a hard onset."""
    voiced_share: float = 0.6
    """Fraction of a syllable that is voiced."""


SPEAKING_STYLES: dict[str, tuple[SpeakingStyle, ...]] = {
    "Neutral": (SpeakingStyle(tilt=1.4),),
    "Anger": (SpeakingStyle(rate=5.2, pitch_range=5, tilt=0.4, roughness=0.8, attack=0.06, voiced_share=0.65, pause=0.05),),
    "Disgust": (SpeakingStyle(rate=2.8, pitch_range=6, tilt=1.35, nasal=1.0, roughness=0.45, attack=0.4, voiced_share=0.8, formant_scale=0.95),),
    "Fear": (
        SpeakingStyle(
            rate=6.2,
            length_jitter=0.4,
            pitch_range=3,
            melody="rise",
            tilt=1.0,
            breathiness=0.3,
            tremor=0.9,
            pause=0.2,
            formant_scale=1.06,
            voiced_share=0.55,
        ),
    ),
    "Happiness": (SpeakingStyle(rate=4.8, pitch_range=8, melody="arc", tilt=0.95, formant_scale=1.18, attack=0.25, voiced_share=0.75, pause=0.06),),
    "Sadness": (
        SpeakingStyle(
            rate=2.2, pitch_range=3, tilt=2.4, breathiness=0.02, tremor=0.15, formant_scale=0.92, attack=0.5, voiced_share=0.85, pause=0.25
        ),
    ),
    "Surprise": (
        SpeakingStyle(
            rate=2.6,
            length_jitter=0.25,
            pitch_range=14,
            melody="rise",
            tilt=0.9,
            breathiness=0.1,
            formant_scale=1.05,
            attack=0.08,
            voiced_share=0.5,
            pause=0.35,
        ),
    ),
    "Other": (
        SpeakingStyle(rate=4.0, breathiness=1.0, tilt=1.2, pause=0.15),
        SpeakingStyle(rate=1.5, pitch_range=1, tilt=2.8, formant_scale=0.85, nasal=0.5, attack=0.3, voiced_share=0.95, pause=0.0),
        SpeakingStyle(rate=1.8, pitch_range=5, melody="dip", tilt=1.1, tremor=0.45, attack=0.3, voiced_share=0.95, pause=0.0),
    ),
}
"""Speaking styles of each expression."""
