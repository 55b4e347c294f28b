"""Videos to faces.  ray job submit --working-dir . -- python jobs/prepare_faces.py paper --videos s3://bucket/videos --storage s3://bucket/runs"""

from abaw_ray.cluster.command import run
from abaw_ray.cluster.faces import prepare_faces
from abaw_ray.cluster.line import FacesJob

from presets import presets_of

if __name__ == "__main__":
    run(lambda what, job: prepare_faces(what, job.faces), presets_of(FacesJob), "faces")
