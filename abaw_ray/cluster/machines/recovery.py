"""Settings of a training whose machines come and go. They change neither results nor addresses."""

from dataclasses import dataclass

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RecoveryConfig:
    """When a training waits for machines, continues with fewer, or gives up. All defaults are ours."""

    wait_minutes: float = 10.0
    """Time that the training waits for all its workers, since it began to wait or on-demand machines were last requested; then it starts with the
    largest number that has room and divides the batch. A new machine takes 6 to 8 minutes until it can be used. More workers are started after
    the next checkpoint when they have room."""
    min_workers: int = 1
    """Smallest number of workers to train with."""
    give_up_after_hours: float = 72.0
    """Time without machines after which the command ends with an error, summed since the last new checkpoint; the same command continues."""
    max_failures: int = 3
    """Number of failures without a new checkpoint between them that are survived; one more ends the command with an error. Preemptions and machines
    that do not become ready in time are not counted."""
    max_preemptions: int = 20
    """Number of preemptions without a new checkpoint between them that are survived. Machines that never live until a checkpoint are paid for without
    progress."""
    checkpoint_minutes: float = 30.0
    """Longest time between two checkpoints within an epoch; there is one after each epoch, and one after a preemption notice. A machine that is lost
    without notice costs the work since the last one."""
    checkpoint_key_file: str = ""
    """Local file of the job's process with a secret key (16 bytes or more) that signs checkpoints: those that are not signed with it are not loaded.
    Empty: their digests show damage, but a writer of the store can also write digests."""

    def check(self, path: str) -> None:
        """Check the values.

        Args:
            path: Dotted name of these settings, for the message.

        Raises:
            ConfigError: a value is out of range.
        """
        for name, minimum in (("wait_minutes", 0), ("min_workers", 1), ("give_up_after_hours", 0), ("max_failures", 0), ("max_preemptions", 0)):
            if getattr(self, name) < minimum:
                raise ConfigError(f"{path}.{name}={getattr(self, name)} must be {minimum} or more")
        if self.checkpoint_minutes <= 0:
            raise ConfigError(f"{path}.checkpoint_minutes={self.checkpoint_minutes} must be above 0")
