"""Stage II: settings, smoothing and models.  ray job submit --working-dir . -- python jobs/sweep_fusion.py paper --trials 64"""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main("sweep")
