"""The method without one part after the other.  ray job submit --working-dir . -- python jobs/ablation.py paper --seeds 0 1 2"""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main("ablation")
