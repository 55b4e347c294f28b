"""Videos to faces.  ray job submit --working-dir . -- python jobs/prepare_faces.py s3://your-bucket/videos -o s3://your-bucket/results/runs"""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main("faces")
