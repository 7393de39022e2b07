"""What a command says, where nobody may listen: a closed stream, a full disk, a reader or a terminal that has gone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class Stream:
    """A standard stream. name: what an error is told of when it cannot be written; "" where no work fails for that.

    A letter that it has no code for is escaped.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        self._stream, self._name = stream, name

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the stream's own
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Say it. Raises OSError."""
        with self._named():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Have it said. Raises OSError."""
        with self._named():
            self._stream.flush()

    def leave(self) -> None:
        """What is still unsaid goes nowhere, or the interpreter would try as it ends, and fail in words of its own."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):  # one that is no file, or closed
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._name:
                error.filename = self._name
                raise


@contextlib.contextmanager
def taken() -> Iterator[None]:
    """Have this process speak by such streams in this block; a closed one takes what is said."""
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as opened:
        for place, name in (("stdout", "standard output"), ("stderr", "")):
            stream = getattr(sys, place)
            if stream is None:
                stream = opened.enter_context(open(os.devnull, "w", encoding="utf-8"))
            setattr(sys, place, Stream(stream, name))
            opened.callback(getattr(sys, place).leave)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
