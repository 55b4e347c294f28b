"""Videos to faces.  ray job submit --working-dir . -- python jobs/prepare_faces.py paper --videos s3://bucket/videos --storage s3://bucket/runs"""

from abaw_ray.cluster.launch.command import main
from abaw_ray.cluster.launch.config import FacesJob

if __name__ == "__main__":
    main(FacesJob, "faces")
