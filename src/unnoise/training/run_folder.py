"""The folder of one training run: made once, never overwritten, held by one process at a time.

RUN/config.toml   RUN/log.jsonl   RUN/checkpoints/   RUN/samples/   RUN/model/
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unnoise import files
from unnoise.errors import FileError, InputError
from unnoise.limits import typed
from unnoise.training import settings
from unnoise.training.checkpoints import checkpoints
from unnoise.training.config import TrainConfig

CONFIG, _LOCK = files.RUN_MARKS
LOG = "log.jsonl"

Entry = Mapping[str, Any]


def agree(run: Path, config: TrainConfig | None, resume: bool) -> TrainConfig:
    """The configuration that a run in this folder will have; writes nothing.

    A resumed run takes the folder's own, and may change only what leaves finished steps as they are
    (`settings.FREE_ON_RESUME`). Raises InputError when the folder exists without `resume`, when it is no run, and for
    fewer steps than were made.
    """
    if config is not None:
        given = settings.to_dict(typed("config", config, TrainConfig))
        config = settings.from_dict(given)  # of numbers and lists in TOML's own kinds
    if not resume:
        _refuse_existing(run)
        settings.dumps(config or TrainConfig())  # or it could not be written later
        return config or TrainConfig()
    if not (run / CONFIG).is_file():
        raise InputError(
            f"'{run}' is not a run (it has no {CONFIG}); give the folder of one, or leave out --resume."
        )
    old = settings.read(run / CONFIG)
    if config is None:
        return old
    fixed = [name for name in settings.differences(old, config) if name not in settings.FREE_ON_RESUME]
    if fixed:
        raise InputError(
            f"{fixed[0]} differs from '{run / CONFIG}'; a resumed run keeps it. Start a new run for it."
        )
    made = max((checkpoint.step for checkpoint in checkpoints(run)), default=0)
    if config.run.steps < made:
        raise InputError(
            f"run.steps is {config.run.steps}, and '{run}' has a checkpoint of step {made}; give {made} or more."
        )
    return config


@contextlib.contextmanager
def hold(run: Path) -> Iterator[None]:
    """Make the folder if need be and hold it for this process.

    Raises FileError when it cannot be made, or when another process holds it.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        handle = os.open(run / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise FileError(
            f"cannot write '{run}': {error.strerror}. Choose a folder that can be written."
        ) from error
    try:
        _lock(handle, run)
        yield
    finally:
        os.close(handle)


def create(run: Path, config: TrainConfig, resume: bool) -> None:
    """Write the configuration of the run that this process holds. Raises FileError when that cannot be done."""
    if not resume:
        _refuse_existing(run)  # once more: another process may have been quicker
    files.write_text(run / CONFIG, settings.dumps(config))


def _lock(handle: int, run: Path) -> None:
    try:
        import fcntl
    except ImportError:  # a system without POSIX locks: two writers there are the user's own risk
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FileError(
            f"'{run}' is in use by another process; wait for it, or give another folder."
        ) from error
    except OSError:  # a file system without locks, as of some clusters: likewise
        return


def _refuse_existing(run: Path) -> None:
    if (run / CONFIG).is_file():
        raise InputError(f"'{run}' holds a run already; go on with --resume, or give another folder.")
    begun = (
        _LOCK,
        f".{CONFIG}.tmp-",
    )  # what a process leaves that was killed before its first word was written
    if run.exists() and (not run.is_dir() or any(not e.name.startswith(begun) for e in run.iterdir())):
        raise InputError(f"'{run}' exists and is not a run; give a folder that does not exist yet.")


class Log:
    """`log.jsonl`: one JSON object a line. Lines of steps that a resumed run will do again are dropped.

    steps: of the whole run, which stands in every line. writes: whether this process is the one that writes; the
    others' lines go nowhere.
    """

    def __init__(self, run: Path, step: int, steps: int, writes: bool = True) -> None:
        self._path, self._steps = run / LOG, steps
        self._writes = writes
        if writes and self._path.is_file():
            kept = [entry for entry in logged(run) if entry["step"] <= step]
            files.write_text(self._path, "".join(f"{json.dumps(entry)}\n" for entry in kept))

    def write(self, entry: Entry) -> None:
        """Append one line."""
        if not self._writes:
            return
        try:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({**entry, "steps": self._steps}) + "\n")
        except OSError as error:
            raise FileError(
                f"cannot write '{self._path}': {error.strerror}. Free some space, then --resume."
            ) from error


def logged(run: Path) -> list[Entry]:
    """What a run's log tells of its steps, in order; nothing where it has no log."""
    path, found = run / LOG, []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError):  # the torn last line of a killed process
            found.append(json.loads(line))
    return [entry for entry in found if isinstance(entry, dict) and "step" in entry]
