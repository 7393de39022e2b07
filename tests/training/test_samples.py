"""The sheet of samples that a run draws."""

from types import SimpleNamespace

import pytest

from unnoise.training.config import RunConfig
from unnoise.training.samples import prompts_for


@pytest.mark.parametrize(("count", "shown"), [(3, 3), (16, 16), (31, 16), (500, 16)])
def test_a_sheet_shows_words_from_all_over_the_alphabet(count, shown):
    """With 31 captions too, whose second half a stride of whole numbers never reaches."""
    words = [f"word {place:03}" for place in range(count)]
    pictures = SimpleNamespace(captions=[(word, "another") for word in reversed(words)] + [()])
    found = prompts_for(RunConfig(), pictures, SimpleNamespace(towers=("one",)))
    assert len(set(found)) == len(found) == shown
    assert found == sorted(found)
    assert (found[0], found[-1]) == (words[0], words[-1])
