"""What a command answers: words, or one JSON object; and what a person should know beside."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(words: str) -> str:
    r"""Words, perhaps out of a stranger's picture, with what a terminal would obey written out, such as \x1b."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", words)


def answer(as_json: bool, facts: object, words: str) -> int:
    """Print the facts as JSON, or the words; returns the exit status of a command that is done."""
    sys.stdout.write((json.dumps(facts) if as_json else harmless(words)) + "\n")
    return 0


def note(sentences: Iterable[str]) -> None:
    """What is not as it was asked for, a line each on standard error."""
    for sentence in sentences:
        sys.stderr.write(f"unnoise: note: {harmless(sentence)}\n")
