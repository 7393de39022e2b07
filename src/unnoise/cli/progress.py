"""How far a long work has come: a bar with the time left in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

_EVERY = 10.0  # seconds between two lines where there is no terminal


class Progress:
    """A bar on standard error, or lines when that is no terminal; nothing when `quiet`.

    total: steps in all; None where the work says so only once it runs, by `told`. what: the word before them. start:
    steps already done.
    """

    def __init__(self, total: int | None, what: str, quiet: bool = False, start: int = 0) -> None:
        self._total, self._what, self._done, self._quiet = total, what, start, quiet
        self._bar: Any = None
        self._said = time.monotonic()
        if total is not None:
            self._open(total)

    def _open(self, total: int) -> None:
        self._total = total
        if not self._quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                initial=self._done,
                desc=self._what,
                unit=" step",
                leave=False,
                dynamic_ncols=True,
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def told(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` are done. note: what was the last."""
        if self._total is None:
            self._open(total)
        self.reach(done, note)

    def reach(self, step: int, note: str = "") -> None:
        """`step` steps are done. note: figures to show beside."""
        more, self._done = step - self._done, step
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(more)
        elif not self._quiet and time.monotonic() - self._said >= _EVERY:
            self._said = time.monotonic()
            sys.stderr.write(f"{self._what}: step {self._done} of {self._total} {note}".rstrip() + "\n")
            sys.stderr.flush()

    def write(self, text: str) -> None:
        """Print to standard output above the bar."""
        if self._bar is not None:
            self._bar.clear()
        sys.stdout.write(text)
        sys.stdout.flush()
        if self._bar is not None:
            self._bar.refresh()
