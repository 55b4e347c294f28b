"""Videos to tables.  ray job submit --working-dir . -- python jobs/analyze.py s3://bucket/videos --model s3://bucket/model -o s3://bucket/out"""

from abaw_ray.cli.main import main

if __name__ == "__main__":
    main("analyze")
