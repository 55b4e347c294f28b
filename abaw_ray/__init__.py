"""Frame-level facial expression recognition in unconstrained videos, distributed with Ray.

After the two-stage audio-visual method that won the EXPR track of the 10th ABAW competition (arXiv 2603.12221).
Everything that happens to a frame is a plain class or function; only ``abaw_ray.cluster`` imports Ray.
"""

__version__ = "0.1.0"
