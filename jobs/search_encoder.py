"""Search of Stage I's hyperparameters.  ray job submit --working-dir . -- python jobs/search_encoder.py paper --search.trials 32"""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main("search")
