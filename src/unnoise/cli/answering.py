"""What a command answers: words, or one JSON object; and what a person should know beside."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable


def answer(as_json: bool, facts: object, words: str) -> int:
    """Print the facts as JSON, or the words; returns the exit status of a command that is done."""
    sys.stdout.write((json.dumps(facts) if as_json else words) + "\n")
    return 0


def note(sentences: Iterable[str]) -> None:
    """What is not as it was asked for, a line each on standard error."""
    for sentence in sentences:
        sys.stderr.write(f"unnoise: note: {sentence}\n")
