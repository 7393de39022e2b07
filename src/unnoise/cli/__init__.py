"""The command line: words typed become typed requests; a room is imported only when its command runs.

Exit status: 0 done, 1 a failure, 2 a bad argument or value, 130 stopped with Ctrl-C. Errors are one sentence on
standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from unnoise.cli.answering import harmless
from unnoise.cli.parser import Refused, parse
from unnoise.errors import InputError, UnnoiseError, out_of_memory

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. argv: the words after `unnoise`; those of this process when None. Returns the exit status."""
    _make_writable()
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        status: int = arguments.run(arguments)
        sys.stdout.flush()  # a reader that has gone away shows here, not as a traceback at exit
        return status
    except KeyboardInterrupt:
        return _failed("stopped; what was saved before is whole.", 130, "unnoise: ")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Refused, UnnoiseError, MemoryError, RuntimeError, OSError) as error:
        told = _told(error)
        if told is None:
            raise
        return _failed(*told)


def _told(error: Exception) -> tuple[str, int] | None:
    """The sentence and the exit status of an error that a person can mend; None for a fault of ours."""
    match error:
        case Refused() | InputError():
            return str(error), 2
        case UnnoiseError():
            return str(error), 1
        case OSError():
            where = "" if error.filename is None else f"'{error.filename}': "
            return f"{where}{error.strerror or error}; choose another file or folder.", 1
    full = "out of memory; ask for fewer or smaller pictures at once."
    return (full, 1) if out_of_memory(error) else None


def _make_writable() -> None:
    """A closed stream takes what is said; a letter that a stream has no code for is escaped, not a traceback."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _failed(sentence: str, status: int, lead: str = "unnoise: error: ") -> int:
    sentence = harmless(" ".join(sentence.split()))
    sys.stderr.write(f"{lead}{sentence}\n")
    return status
