"""Stage I as a stage of the line: images into storage, then one training run on all of them; what is there already is not done again."""

import time

from abaw_ray.cluster.images import images_home, ingest_images
from abaw_ray.cluster.job import Run
from abaw_ray.core.errors import DataError
from abaw_ray.core.lock import only_writer
from abaw_ray.core.progress import say
from abaw_ray.core.records import Home, Item, Record
from abaw_ray.encoder.config import REVISION, EncoderConfig

STAGE = "encoder"


def encoder_home(run: Run, config: EncoderConfig) -> Home:
    """Where encoders trained with these settings live."""
    return Home(run.storage, STAGE, config, REVISION, (images_home(run, config.ingest).path,))


def encoder_item(images: Record) -> Item:
    """The training on exactly these images."""
    return Item(name="run", identity=images.identity)


def prepare_encoder(run: Run, config: EncoderConfig) -> Record:
    """Bring the trained encoder into storage: its part holds ``encoder/`` as timm loads it, without the head."""
    images = ingest_images(run, config.ingest)
    home, item = encoder_home(run, config), encoder_item(images)
    record = home.record([item])
    if record is not None:
        say(f"{STAGE}: already there in {run.storage.uri(home.path)}")
        return record
    started = time.monotonic()
    with only_writer(run.storage, home.path):
        say(f"{STAGE}: {config.epochs} epochs over {images.figures['rows']:,.0f} images; {run.storage.uri(home.path)}")
        run.engine.start()
        from abaw_ray.cluster.encoder import train_encoder

        shards = sorted(images.parts.values())
        figures = train_encoder(home=home, item=item, shards=shards, config=config, compute=run.compute, on_epoch=_say_epoch)
        return home.finish([item], {**figures, "rows": images.figures["rows"]}, time.monotonic() - started)


def _say_epoch(figures: dict) -> None:
    done, rate = f"epoch {figures['epoch']} of {figures['epochs']}", f"{figures['images_per_second']:,.0f} images/s"
    say(f"  encoder: {done}, loss {figures['loss']:.3f}, macro-F1 of held-out images {figures['macro_f1']:.3f}, {rate}")


def encoder_record(run: Run, config: EncoderConfig) -> Record:
    """The record of a trained encoder that a later stage builds on.

    Raises:
        DataError: it is not there (yet) for these images and settings.
    """
    from abaw_ray.cluster.images import shards_of, stills

    images = images_home(run, config.ingest).record(shards_of(stills(run)))
    record = None if images is None else encoder_home(run, config).record([encoder_item(images)])
    if record is None:
        raise DataError(
            f"{run.storage.uri(encoder_home(run, config).path)}: no encoder is trained with these settings on these images; "
            "run jobs/train_encoder.py with the same preset and options first"
        )
    return record
