"""Prompts from strangers: whatever the text, reading ends soon, and says what was wrong or what was read."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unnoise.errors import InputError
from unnoise.text import STYLES, Prompt

# each is repeated to a length; every one of them made some parser of prompts slow
PATTERNS = [
    "(",
    "()",
    ")",
    "[",
    "[a:",
    "[a|",
    "|",
    ":",
    ":1",
    ":1)",
    ": ",
    "((a)",
    "\\",
    "\\(",
    " ",
    " BREAK",
    "BREAK",
    "AND",
    "a AND ",
    "<",
    "<a",
    "<lora:",
    "<lora:a>",
    "+",
    "a+",
    "(a)+",
    ".attend(",
    '"',
    "-",
    "1",
    ".",
    "withLora(",
    '"a',
    "(a - ",
    '("a" ',
    '\\"',
    "a,",
    "a" * 20 + "(",
]
NESTED = ["(" * 60 + "a)(" * 40, "[" * 60 + "a" + ":b:0.5]" * 60, "(" * 60 + "[" * 60 + r"\(" * 300]


def read(text, style):
    try:
        prompt = Prompt.read(text, style)
        return [prompt.at(step, 3) for step in range(3)]
    except InputError:
        return None


def work(text, style):
    """How many lines of Python reading takes."""
    lines = 0

    def count(frame, event, _):
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        read(text, style)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("style", STYLES)
def test_twice_the_text_is_at_most_twice_the_work(style):
    for pattern in PATTERNS:
        once, twice = (work((pattern * 400)[:length], style) for length in (400, 800))
        assert twice <= 2.2 * once + 500, (pattern, once, twice)


@pytest.mark.no_cover
@pytest.mark.parametrize("style", STYLES)
def test_the_longest_prompts_are_read_or_refused(style):
    """100,000 characters: were any of this quadratic, ten thousand million steps would not end."""
    for pattern in [*PATTERNS, *NESTED]:
        read((pattern * 100_000)[:100_000], style)


@given(st.text(alphabet='()[]:|\\<>lora +-."ab1BREAKND\n,', max_size=60), st.sampled_from(STYLES))
def test_any_text_gives_phrases_or_a_sentence(text, style):
    found = read(text, style)
    if found is not None:
        assert all(phrases and all(phrase.sections for phrase in phrases) for phrases in found)


@given(st.text(alphabet="abc ,.é中", max_size=40), st.sampled_from(STYLES))
def test_words_without_marks_are_what_they_are(text, style):
    (phrase,) = Prompt.read(text, style).at(0, 1)
    # compel parts what follows a comma at once, which makes two tokens of two commas
    assert phrase.text == (re.sub(r",(\S)", r", \1", text) if style == "compel" else text)
    assert all(piece.weight == 1.0 for section in phrase.sections for piece in section)


@pytest.mark.parametrize(
    "tag", ["<lora:" + "x:" * 9000 + ">", "<hypernet:" + "x" * 9000 + ">", "<lora:a:" + "x" * 9000 + ">"]
)
def test_a_tag_of_any_length_is_refused_in_one_short_sentence(tag):
    with pytest.raises(InputError) as caught:
        Prompt.read(tag)
    assert len(str(caught.value)) < 200


def test_101_thousand_characters_are_refused():
    with pytest.raises(InputError, match="at most 100,000 are read"):
        Prompt.read("a" * 101_000)
