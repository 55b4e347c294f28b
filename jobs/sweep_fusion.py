"""Stage II: settings, smoothing and models.  ray job submit --working-dir . -- python jobs/sweep_fusion.py paper --trials 64"""

from abaw_ray.cluster.launch.command import main
from abaw_ray.cluster.launch.config import SweepJob

if __name__ == "__main__":
    main(SweepJob, "fusion")
