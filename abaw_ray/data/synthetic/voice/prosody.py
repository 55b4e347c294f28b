"""How a voice sounds when it carries an expression: rhythm, melody, colour, tremor; none of them in the mean pitch or the loudness.

Knows nothing of samples; ``voice.py`` speaks. All values ours, after what the literature on vocal emotion agrees about.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Manner:
    """One way of speaking."""

    rate: float = 4.0
    """Syllables a second."""
    uneven: float = 0.12
    """Spread of the syllables' lengths, relative."""
    pause: float = 0.12
    """Chance of a pause after a syllable."""
    span: float = 2.0
    """Semitones that the melody covers within a syllable."""
    melody: str = "fall"
    """Of a syllable: fall, rise, arc, dip."""
    tilt: float = 1.3
    """Fall of the harmonics: amplitude of harmonic k is k to the power of -tilt. Small is sharp, large is dull."""
    bright: float = 1.0
    """Scale of the formants: lips spread (above 1) or rounded."""
    nasal: float = 0.0
    """Depth of the notch at 900 Hz and height of the hum at 300 Hz."""
    breath: float = 0.0
    """Noise against voice; 1 is a whisper."""
    tremor: float = 0.0
    """Depth of a tremble of pitch and loudness at 7 to 9 Hz."""
    rough: float = 0.0
    """Depth of a growl: loudness changes with half the pitch."""
    attack: float = 0.3
    """Share of a syllable until it is loudest: small is hard."""
    held: float = 0.6
    """Share of a syllable that is voiced."""


MANNERS: dict[str, tuple[Manner, ...]] = {
    "Neutral": (Manner(tilt=1.4),),
    "Anger": (Manner(rate=5.2, span=5, tilt=0.4, rough=0.8, attack=0.06, held=0.65, pause=0.05),),
    "Disgust": (Manner(rate=2.8, span=6, tilt=1.35, nasal=1.0, rough=0.45, attack=0.4, held=0.8, bright=0.95),),
    "Fear": (Manner(rate=6.2, uneven=0.4, span=3, melody="rise", tilt=1.0, breath=0.3, tremor=0.9, pause=0.2, bright=1.06, held=0.55),),
    "Happiness": (Manner(rate=4.8, span=8, melody="arc", tilt=0.95, bright=1.18, attack=0.25, held=0.75, pause=0.06),),
    "Sadness": (Manner(rate=2.2, span=3, tilt=2.4, breath=0.02, tremor=0.15, bright=0.92, attack=0.5, held=0.85, pause=0.25),),
    "Surprise": (Manner(rate=2.6, uneven=0.25, span=14, melody="rise", tilt=0.9, breath=0.1, bright=1.05, attack=0.08, held=0.5, pause=0.35),),
    "Other": (
        Manner(rate=4.0, breath=1.0, tilt=1.2, pause=0.15),
        Manner(rate=1.5, span=1, tilt=2.8, bright=0.85, nasal=0.5, attack=0.3, held=0.95, pause=0.0),
        Manner(rate=1.8, span=5, melody="dip", tilt=1.1, tremor=0.45, attack=0.3, held=0.95, pause=0.0),
    ),
}
"""Each expression in the ways that people speak it."""
