"""Videos to faces.  ray job submit --working-dir . -- python jobs/prepare_faces.py paper --videos s3://bucket/videos --storage s3://bucket/runs"""

from abaw_ray.cluster.launch.command import run
from abaw_ray.cluster.launch.config import FacesJob
from abaw_ray.cluster.launch.presets import presets_of
from abaw_ray.cluster.stages.faces import prepare_faces

if __name__ == "__main__":
    run(lambda what, job: prepare_faces(what, job.faces), presets_of(FacesJob), "faces")
