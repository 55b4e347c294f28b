"""Videos to tables.  ray job submit --working-dir . -- python jobs/analyze.py s3://your-bucket/videos --model s3://your-bucket/model -o s3://your-bucket/results"""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main("analyze")
