"""Stage II: settings, smoothing and models.  ray job submit --working-dir . -- python jobs/sweep_fusion.py paper --trials 64"""

from abaw_ray.cluster.launch.command import run
from abaw_ray.cluster.launch.config import SweepJob
from abaw_ray.cluster.launch.presets import presets_of
from abaw_ray.cluster.stages.fusion import sweep_fusion

if __name__ == "__main__":
    run(sweep_fusion, presets_of(SweepJob), "fusion")
