"""Progress of works that say how long they are only once they run."""

from __future__ import annotations

from unnoise.cli.progress import Progress


class Telling:
    """A bar that appears with the first word of progress. what: the word before it."""

    def __init__(self, what: str, quiet: bool) -> None:
        self._what, self._quiet = what, quiet
        self._progress: Progress | None = None

    def __enter__(self) -> Telling:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.__exit__()

    def reach(self, done: int, whole: int, note: str = "") -> None:
        """`done` of `whole` are done. note: what was the last."""
        if self._progress is None:
            self._progress = Progress(whole, self._what, self._quiet)
        self._progress.reach(done, note)
