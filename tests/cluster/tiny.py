"""Settings of the smallest synthetic data set: a few seconds of video, and about one still image per class."""

from abaw_ray.data.synthetic.config import SyntheticConfig

TINY = SyntheticConfig(
    train_subjects=6,
    val_subjects=3,
    test_subjects=1,
    video_duration_s=2.4,
    segment_duration_s=(0.4, 0.9),
    affectnet_train_images=8,
    affectnet_val_images=8,
    rafdb_train_images=7,
    rafdb_test_images=7,
)
