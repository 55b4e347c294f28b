"""The whole line, from videos and images to report.html.  ray job submit --working-dir . -- python jobs/pipeline.py paper"""

from abaw_ray.cluster.command import run
from abaw_ray.cluster.line import Line
from abaw_ray.cluster.pipeline import pipeline
from abaw_ray.cluster.plan import ALL

from presets import presets_of

if __name__ == "__main__":
    run(pipeline, presets_of(Line), *ALL)
