"""Why a request is not taken."""

from __future__ import annotations

from unnoise.errors import InputError, UnnoiseError


class FieldError(InputError):
    """A field of a request makes no sense. field: its name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class NotServed(FieldError):  # noqa: N818 - named by what is so
    """A model that this server does not have."""


class NotNow(UnnoiseError):  # noqa: N818 - named by what is so
    """What would be taken later. status: of the answer over HTTP. retry_after: seconds."""

    status, retry_after = 503, 2

    @property
    def code(self) -> str:
        """As answers name it."""
        return type(self).__name__.lower()

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        return {"retry-after": str(self.retry_after)}


class Full(NotNow):
    """The queue, or this client's part of it, is full: there may be a place after `retry_after`."""

    status = 429

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Loading(NotNow):
    """The models are not known yet: the worker has just begun."""

    def __init__(self, message: str = "the models are being loaded; ask again in a moment.") -> None:
        super().__init__(message)


class Closing(NotNow):
    """The server is about to end and takes nothing more."""

    retry_after = 10

    def __init__(self, message: str = "the server is about to end; ask again when it is back.") -> None:
        super().__init__(message)


class Unknown(UnnoiseError):  # noqa: N818 - named by what is so
    """There is no job, or no picture, of this name."""
