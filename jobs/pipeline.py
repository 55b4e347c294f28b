"""The whole pipeline, from videos and images to report.html.  ray job submit --working-dir . -- python jobs/pipeline.py paper"""

from abaw_ray.cluster.launch.command import main
from abaw_ray.cluster.launch.config import PipelineConfig

if __name__ == "__main__":
    main(PipelineConfig)
