"""The whole pipeline, from videos and images to report.html.  ray job submit --working-dir . -- python jobs/pipeline.py paper"""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main("pipeline")
