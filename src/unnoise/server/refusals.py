"""Why a request is not taken."""

from __future__ import annotations

from unnoise.errors import InputError, UnnoiseError


class FieldError(InputError):
    """A field of a request makes no sense. field: its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Full(UnnoiseError):  # noqa: N818 - named by what is so
    """The queue, or this client's part of it, is full. retry_after: seconds after which there may be a place."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Loading(UnnoiseError):  # noqa: N818 - named by what is so
    """The models are not known yet: the worker has just begun. retry_after: seconds."""

    retry_after = 2

    def __init__(self, message: str = "the models are being loaded; ask again in a moment.") -> None:
        super().__init__(message)


class Closing(UnnoiseError):  # noqa: N818 - named by what is so
    """The server is about to end and takes nothing more. retry_after: seconds."""

    retry_after = 10


class Unknown(UnnoiseError):  # noqa: N818 - named by what is so
    """There is no job, or no picture, of this name."""
