"""The errors that a user sees: one line that says where, what, and what to do.

Each class carries the exit code of a job that ends with it. Anything else that is raised is a defect of ours and keeps its traceback.
"""


class AbawError(Exception):
    """An error with a message for the user; ``str(error)`` is one line, without a traceback."""

    exit_code = 1


class ConfigError(AbawError):
    """A setting is unknown, has the wrong form, or contradicts another; nothing has run yet."""

    exit_code = 2


class DataError(AbawError):
    """What the user gave is missing or not in the promised layout: a path, an annotation file, a column."""

    exit_code = 3


class MissingError(DataError):
    """A file that was named is not there; among many, it is that one's failure."""


class StorageError(AbawError):
    """Storage cannot be reached, refuses us, or lost something; the same call may work later."""

    exit_code = 4


class StageError(AbawError):
    """A stage ended, but more items failed than ``max_failures`` allows, its training diverged, or its tables break their schema."""

    exit_code = 5


class BusyError(AbawError):
    """Another run is writing the same home right now."""

    exit_code = 6


class ItemError(AbawError):
    """One item (a video, an image) cannot be used: it becomes a ``FAILURE`` row and the others go on.

    ``last_frame`` is the number of the last good frame, where there was one.
    """

    def __init__(self, reason: str, last_frame: int | None = None) -> None:
        super().__init__(reason)
        self.last_frame = last_frame

    def __reduce__(self) -> tuple:
        """Keep ``last_frame`` across processes."""
        return type(self), (str(self), self.last_frame)
