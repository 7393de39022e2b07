"""SIGTERM, Ctrl-C and a closed terminal as a wish that the loop hears between two steps, so that it can save first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_ASKED = (signal.SIGTERM, signal.SIGINT)
"""Heard though they are ignored, as a shell has it of what it begins in the background."""
_SIGNALS = (*_ASKED, signal.SIGHUP) if hasattr(signal, "SIGHUP") else _ASKED
_wishes: list[threading.Event] = []  # of the runs under way, which may overlap and end in any order
_before: dict[int, Any] = {}


@contextlib.contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Yield an event that the first of these sets; a second SIGINT interrupts at once.

    Where SIGHUP is ignored, as `nohup` has it, it stays so. Outside the main thread, where signals cannot be taken,
    the event is only for the caller to set.
    """
    asked = threading.Event()
    if not _in_main_thread():
        yield asked
        return
    _take()
    _wishes.append(asked)
    try:
        yield asked
    finally:
        _wishes.remove(asked)
        if not _wishes and _in_main_thread():  # a run may end in another thread than that which began it
            _give_back()


def _hear(number: int, frame: FrameType | None) -> None:
    if not _wishes:
        _give_back()
        signal.raise_signal(number)
    elif number == signal.SIGINT and all(asked.is_set() for asked in _wishes):
        raise KeyboardInterrupt
    for asked in _wishes:
        asked.set()


def _take() -> None:
    # each by itself: since a run that ended in another thread, somebody else may have taken one
    for number in _SIGNALS:
        held = (_hear,) if number in _ASKED else (_hear, signal.SIG_IGN)
        if signal.getsignal(number) not in held:
            _before[number] = signal.signal(number, _hear)


def _give_back() -> None:
    for number, handler in _before.items():
        if signal.getsignal(number) is _hear:
            signal.signal(number, handler)
    _before.clear()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
