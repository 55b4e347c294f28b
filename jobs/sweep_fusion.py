"""Stage II: settings, smoothing and models.  ray job submit --working-dir . -- python jobs/sweep_fusion.py paper --trials 64"""

from abaw_ray.cluster.command import run
from abaw_ray.cluster.line import SweepJob
from abaw_ray.cluster.sweep import sweep_fusion

from presets import presets_of

if __name__ == "__main__":
    run(sweep_fusion, presets_of(SweepJob), "fusion")
