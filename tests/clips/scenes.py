"""Scenes with known people, made of real clips: frames, and for each frame the person who is shown (None where it is undecided)."""

import cv2
import numpy as np

from abaw_ray.media.video import decode

SIZE = (640, 360)
_PASTE = 170
"""Pixels: side of a pasted head."""


def mirrored(frames):
    """The frames seen in a mirror."""
    return [frame[:, ::-1].copy() for frame in frames]


def zoomed(frames, zoom, shift=(0, 0)):
    """The frames enlarged around their middle and shifted by this many pixels; what is outside is mirrored."""
    x, y = (np.array(SIZE) * (1 - zoom) / 2 + shift).tolist()
    return [cv2.warpAffine(frame, np.array([[zoom, 0, x], [0, zoom, y]]), SIZE, borderMode=cv2.BORDER_REFLECT) for frame in frames]


def there_and_back(frames, count):
    """This many frames: the shot forwards and backwards in turn, so that it has no cut."""
    loop = [*frames, *frames[-2:0:-1]]
    return [loop[k % len(loop)] for k in range(count)]


class Material:
    """Shots of two people, and pastes of their heads into one still background."""

    def __init__(self, clips, people):
        stage = [frame.rgb() for frame in decode(str(people / "cuts_stage.mp4"))]
        self.a = [frame.rgb() for frame in decode(str(clips / "single_face.mp4"))]
        self.b_far, self.b, self.audience = stage[:20], stage[82:211], stage[211:]
        self.b_at_a = zoomed(self.b, 1.8, (90, 55))
        """B at about the place and size of A."""
        self.heads = {"a": self._heads(self.a, (300, 190), 300), "b": self._heads(self.b[80:], (252, 125), 200)}
        blocks = np.random.default_rng(0).integers(60, 170, (9, 16, 3), dtype=np.uint8)
        self.room = cv2.resize(blocks, SIZE, interpolation=cv2.INTER_CUBIC)
        y, x = np.mgrid[:_PASTE, :_PASTE] - _PASTE / 2
        self.mask = np.clip((1 - np.hypot(x / 72, y / 84)) * 6, 0, 1)[..., None]

    @staticmethod
    def _heads(frames, center, side):
        return [cv2.resize(cv2.getRectSubPix(frame, (side, side), center), (_PASTE, _PASTE), interpolation=cv2.INTER_AREA) for frame in frames]

    def paste(self, k, *places):
        """Frame ``k`` of the room with heads ``(person, x)``; later ones hide earlier ones."""
        frame = self.room.copy()
        for person, x in places:
            head = there_and_back(self.heads[person], k + 1)[k]
            left, top = round(x - _PASTE / 2), 95
            part = frame[top : top + _PASTE, left : left + _PASTE]
            part[:] = (part * (1 - self.mask) + head * self.mask).astype(np.uint8)
        return frame

    def cuts(self):
        """Shots of A and B in turn, mirrored, enlarged and far away, then people without a name."""
        shots = [
            ("a", self.a),
            ("b", self.b),
            ("a", mirrored(self.a)),
            ("b", self.b_far),
            ("b", zoomed(mirrored(self.b), 1.5)),
            (None, self.audience),
        ]
        return [frame for _, frames in shots for frame in frames], [name for name, frames in shots for _ in frames]

    def cuts_at_one_place(self):
        """Shots of A and B in turn, their faces at the same place."""
        shots = [("a", self.a), ("b", self.b_at_a), ("a", self.a), ("b", self.b_at_a[::-1])]
        return [frame for _, frames in shots for frame in frames], [name for name, frames in shots for _ in frames]

    def short_shots(self):
        """Shots of half a second to one second."""
        shots = [("a", self.a[:25]), ("b", self.b[:16]), ("a", zoomed(self.a, 1.4)[40:60]), ("b", mirrored(self.b)[90:120]), ("a", self.a[30:47])]
        return [frame for _, frames in shots for frame in frames], [name for name, frames in shots for _ in frames]

    def dissolve(self, length=30):
        """A dissolve from A to B at the same place."""
        before, after = there_and_back(self.a, 120 + length), self.b_at_a
        weights = np.linspace(0, 1, length)
        mixed = [cv2.addWeighted(x, 1 - w, y, w, 0) for x, y, w in zip(before[120:], after, weights, strict=False)]
        return before[:120] + mixed + after[length:], ["a"] * 120 + [None] * length + ["b"] * (len(after) - length)

    def replaced(self):
        """In one shot: A, then B at the same place, then A again, with nobody there in between."""
        shown = ["a"] * 80 + [None] * 30 + ["b"] * 110 + [None] * 30 + ["a"] * 100
        return [self.paste(k, *([(name, 320)] if name else [])) for k, name in enumerate(shown)], shown

    def exchanged(self):
        """A picture of A that turns into B from one frame to the next, without a cut of the rest."""
        shown = ["a"] * 100 + ["b"] * 100 + ["a"] * 70
        return [self.paste(k, (name, 320)) for k, name in enumerate(shown)], shown
