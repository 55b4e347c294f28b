"""The whole line, from videos and images to report.html.  ray job submit --working-dir . -- python jobs/pipeline.py paper"""

from abaw_ray.cluster.launch.command import run
from abaw_ray.cluster.launch.config import PipelineConfig
from abaw_ray.cluster.launch.pipeline import pipeline
from abaw_ray.cluster.launch.plan import ALL
from abaw_ray.cluster.launch.presets import presets_of

if __name__ == "__main__":
    run(pipeline, presets_of(PipelineConfig), *ALL)
