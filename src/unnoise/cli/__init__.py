"""The command line: words typed become typed requests; a room is imported only when its command runs.

Exit status: 0 done, 1 a failure, 2 a bad argument or value, 130 stopped with Ctrl-C, 143 by SIGTERM, 129 with its
terminal. Errors are one sentence on standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from unnoise.cli import ending, streams, threads
from unnoise.cli.answering import harmless
from unnoise.cli.parser import Refused, parse
from unnoise.errors import FileError, InputError, UnnoiseError, out_of_memory

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. argv: the words after `unnoise`; those of this process when None. Returns the exit status."""
    if argv is None:
        threads.wait_briefly()
    with streams.taken():
        return _answered(argv)


def _answered(argv: Sequence[str] | None) -> int:
    try:
        with ending.put_away(forever=argv is None):
            return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, ending.Ended) else signal.SIGINT
        return _failed("stopped; what was saved before is whole.", 128 + number, "unnoise: ")
    except BrokenPipeError:
        return 1
    except (Refused, UnnoiseError, MemoryError, RuntimeError, OSError, ImportError) as error:
        told = _told(error)
        if told is None:
            raise
        return _failed(*told)


def _run(argv: Sequence[str]) -> int:
    try:
        os.getcwd()
    except FileNotFoundError as error:  # torch's libraries would end the process
        raise FileError("the folder that this was started in is gone; go to one that exists.") from error
    try:
        arguments = parse(argv)
        status: int = arguments.run(arguments)
    finally:
        sys.stdout.flush()  # a reader that has gone away, or a full disk, shows here, also of --help
    return status


def _told(error: Exception) -> tuple[str, int] | None:
    """The sentence and the exit status of an error that a person can mend; None for a fault of ours."""
    match error:
        case Refused() | InputError():
            return str(error), 2
        case UnnoiseError():
            return str(error), 1
        case ImportError() if not (error.name or "").startswith("unnoise"):
            return f"a library cannot be loaded: {error}; install unnoise again, or give it more memory.", 1
        case OSError():
            where = "" if error.filename is None else f"'{error.filename}': "
            return f"{where}{error.strerror or error}; choose another file or folder.", 1
    full = "out of memory; ask for fewer or smaller pictures at once."
    return (full, 1) if out_of_memory(error) else None


def _failed(sentence: str, status: int, lead: str = "unnoise: error: ") -> int:
    sentence = harmless(" ".join(sentence.split()))
    sys.stderr.write(f"{lead}{sentence}\n")
    return status
