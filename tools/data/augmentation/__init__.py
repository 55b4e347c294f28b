"""Compares augmentations of Stage I on synthetic faces near the border of the picture and on faces blurred by motion."""
