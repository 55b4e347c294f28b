"""Two vectors per frame.  ray job submit --working-dir . -- python jobs/extract_features.py paper --features.speech.window-s 1.5"""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main("features")
