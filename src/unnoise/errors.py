"""One tree of exceptions. Each message says what was given, what was expected, and one way on."""

from __future__ import annotations


class UnnoiseError(Exception):
    """Anything that this package refuses or fails at; catch this one to catch them all."""


class InputError(UnnoiseError, ValueError):
    """A value given by the caller is not usable: the message names the field, the value and a way to mend it.

    The command line answers with exit status 2.
    """


class FileError(UnnoiseError):
    """A file or folder is missing, unreadable, damaged, or in the way (exit status 1)."""


class CheckpointError(FileError):
    """A model file cannot be accounted for: foreign, incomplete, mis-shaped, non-finite or altered."""


class DataError(FileError):
    """Training data is missing, damaged or of the wrong kind."""


class NonFiniteError(UnnoiseError):
    """A computation left the finite numbers; the message names the stage and the step."""


_FULL = ("out of memory", "DefaultCPUAllocator")
"""What torch says without memory: of cards it has a class for that, of the processor nothing but its words."""


def out_of_memory(error: BaseException) -> bool:
    """Whether this error says that memory did not suffice."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)
    )
