"""The files of finished pictures: found by their names, removed with their jobs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from unnoise.server.job import Made

_log = logging.getLogger("unnoise.server")

_PICTURE = re.compile(r"([A-Za-z0-9]{20})-\d{1,3}\.png")
_LEFT_BEHIND = re.compile(r"\.[A-Za-z0-9]{20}-\d{1,3}\.png\.tmp-[0-9a-f]{8}")


class Album:
    """The folder that the worker writes pictures into."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sweep(self) -> None:
        """Remove what a process left that ended in the middle of writing, and no other file."""
        for left in self._folder.glob(".*.tmp-*") if self._folder.is_dir() else ():
            if _LEFT_BEHIND.fullmatch(left.name):
                left.unlink(missing_ok=True)

    @staticmethod
    def job_of(name: str) -> str | None:
        """The id of the job whose picture is called that; None where no picture is."""
        match = _PICTURE.fullmatch(name)
        return None if match is None else match[1]

    def path(self, name: str) -> Path | None:
        """The file of that name, if it is still there."""
        path = self._folder / name
        return path if path.is_file() else None

    def remove(self, made: Iterable[Made]) -> None:
        """Remove these pictures; of one that cannot be removed the log tells."""
        for picture in made:
            try:
                (self._folder / picture.name).unlink(missing_ok=True)
            except OSError as error:  # its record is gone, and the other pictures go too
                _log.error("picture '%s' stays: %s", picture.name, error.strerror)

    def remove_of(self, id: str) -> None:
        """Remove whatever has been written for a job, which has no record of its pictures."""
        for path in self._folder.glob(f"{id}-*.png"):
            path.unlink(missing_ok=True)
