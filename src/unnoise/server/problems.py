"""What went wrong with a job, for the person who asked for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from unnoise.errors import InputError, NonFiniteError, UnnoiseError, out_of_memory
from unnoise.server.fields import FIELDS
from unnoise.server.job import Problem
from unnoise.server.refusals import FieldError
from unnoise.server.renamed import in_their_words


def problem_of(error: BaseException, *hidden: Path | None, names: Mapping[str, str] | None = None) -> Problem:
    """The problem that an error is.

    hidden: folders of the server, which the message leaves out. names: argument of a pipeline -> field that gave it.
    """
    message = str(error)
    for folder in filter(None, hidden):
        message = message.replace(f"{folder}{os.sep}", "").replace(str(folder), "the server's folder")
    if out_of_memory(error):
        return Problem("out_of_memory", "memory did not suffice; ask for fewer or smaller pictures.")
    if isinstance(error, NonFiniteError):
        return Problem("non_finite", message)
    if isinstance(error, FieldError):
        return Problem("bad_input", message, error.field)
    if isinstance(error, InputError):
        argument = message.partition(" ")[0]  # with which our messages begin
        told = in_their_words(FieldError(argument, message), names or {})
        return Problem("bad_input", str(told), told.field if told.field in FIELDS else None)
    if isinstance(error, UnnoiseError):
        return Problem("failed", message)
    return Problem("failed", f"an error of the server's own ({type(error).__name__}); its log says where.")
