"""Errors for the user: one line that says where, what, and what to do.

``exit_code`` is the exit code of a job that ends with the error. Any other exception is a bug in this package and keeps its traceback.
"""


class AbawError(Exception):
    """An error with a message for the user; ``str(error)`` is one line, without a traceback."""

    exit_code = 1


class ConfigError(AbawError):
    """A setting is unknown, has the wrong form, or contradicts another; raised before anything runs."""

    exit_code = 2


class DataError(AbawError):
    """User input is missing or not in the documented layout: a path, an annotation file, a column."""

    exit_code = 3


class MissingError(DataError):
    """A named file does not exist; among many files, only that one fails."""


class StorageError(AbawError):
    """Storage cannot be reached, refuses access, or lost a file; a retry may succeed."""

    exit_code = 4


class StageError(AbawError):
    """A stage failed: more items failed than ``max_failures`` allows, its training diverged, its tables break their schema, or Ray did not start."""

    exit_code = 5


class BusyError(AbawError):
    """Another run is writing to the same stage folder."""

    exit_code = 6


class ItemError(AbawError):
    """One item (a video, an image) cannot be used: it becomes a ``FAILURE`` row, and the other items are processed.

    ``last_frame`` is the number of its last good frame, None where there is none.
    """

    def __init__(self, reason: str, last_frame: int | None = None) -> None:
        super().__init__(reason)
        self.last_frame = last_frame

    def __reduce__(self) -> tuple:
        """Keep ``last_frame`` across processes."""
        return type(self), (str(self), self.last_frame)
