"""Whole words as tokens: what is read as the same word, and what is told when a word is not known."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unnoise.errors import InputError
from unnoise.text import WordTokenizer, tokenizer_from_config

KNOWN = ("a", "apple", "cafe", "cherry", "fox", "glass", "glasses", "red", "3d")
words = WordTokenizer(KNOWN)
NUMBER = {word: place + 4 for place, word in enumerate(KNOWN)}


def test_ids_are_the_four_special_ones_and_the_words_in_their_order():
    assert words.size == len(KNOWN) + 4
    assert (words.padding, words.unknown, words.start, words.end) == (0, 1, 2, 3)
    assert words.encode(" ".join(KNOWN)) == list(range(4, 4 + len(KNOWN)))
    assert words.words == KNOWN


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("apples", "apple"),
        ("cherries", "cherry"),
        ("foxes", "fox"),
        ("glasses", "glasses"),  # listed itself, so not read as a plural of another
        ("APPLE", "apple"),
        ("café", "cafe"),
        ("cafe\u0301s", "cafe"),
        ("CAFÉS", "cafe"),
        ("ａｐｐｌｅ", "apple"),
        ("𝐀𝐩𝐩𝐥𝐞", "apple"),
        ("3D", "3d"),
    ],
)
def test_the_same_word_in_another_spelling(typed, word):
    assert words.encode(typed) == [NUMBER[word]]
    assert words(typed).unknown == ((),)


def test_only_a_plural_in_s_is_read_as_its_singular():
    assert words.encode("applex re ap cherri") == [words.unknown] * 4
    assert WordTokenizer(("bu",)).encode("s es ies buses") == [1, 1, 1, 1]


def test_unknown_words_are_told_once_as_they_were_typed_and_in_their_order():
    tokens = words(["A Dragon, a red dog, a Dragon", "red"], length=None)
    assert tokens.unknown == (("Dragon", "dog"), ())
    assert words.decode(tokens.ids[0].tolist()) == "a [unknown] a red [unknown] a [unknown]"


def test_offsets_are_where_words_begin_in_the_text_as_typed():
    text = "  A red-ish, CAFE\u0301! (fox)"
    _, places = words.pieces(text)
    assert [text[place:].split()[0].strip("!,()") for place in places] == [
        "A",
        "red-ish",
        "ish",
        "CAFE\u0301",
        "fox",
    ]


def test_a_batch_has_start_end_padding_and_tells_what_is_cut():
    tokens = words(["a red apple", "fox"], length=4)
    assert tokens.ids.tolist() == [[2, NUMBER["a"], NUMBER["red"], 3], [2, NUMBER["fox"], 3, 0]]
    assert tokens.mask.tolist() == [[True] * 4, [True, True, True, False]]
    assert tokens.cut == ("apple", "")


def test_the_configuration_comes_back_through_json():
    back = tokenizer_from_config(json.loads(json.dumps(words.config())))
    assert back == words
    assert back.encode("a red fox") == words.encode("a red fox")


@pytest.mark.parametrize(
    "known", [("Cat",), ("red apple",), ("",), ("café",), ("a", "b", "a"), ("red-ish",), ("cat_",)]
)
def test_a_list_that_could_not_be_found_again_is_refused(known):
    with pytest.raises(InputError, match=r"^known holds"):
        WordTokenizer(known)


@pytest.mark.parametrize("config", [{"kind": "words"}, {"kind": "words", "words": ["a"]}])
def test_a_foreign_configuration_is_refused(config):
    with pytest.raises(InputError, match="Give what config"):
        tokenizer_from_config(config)


@pytest.mark.parametrize(
    "prompt",
    ["", "🎨", "\0", "\ud800", "_" * 100_000, "a " * 50_000, "e\u0301" * 50_000, "\u0301" * 100_000, "s" * 100_000],
    ids=lambda prompt: f"{len(prompt)} of {prompt[:2]!a}",
)  # fmt: skip
def test_any_text_is_welcome(prompt):
    tokens = words(prompt, length=16)
    assert tokens.ids.shape == (1, 16)
    assert int(tokens.ids.max()) < words.size


def test_more_text_than_is_read_is_refused_with_its_length():
    with pytest.raises(InputError, match="100,001 characters"):
        words("a" * 100_001)


@pytest.mark.parametrize("number", [-1, words.size])
def test_decoding_refuses_ids_outside_the_vocabulary(number):
    with pytest.raises(InputError, match=f"ids 0 to {words.size - 1}"):
        words.decode([number])


@given(st.text(max_size=60))
def test_the_words_of_any_text_make_a_vocabulary_that_reads_them(text):
    """`clean` is what a vocabulary is made of: each of its words is allowed, and is its own reading."""
    found = words.clean(text)
    assert words.clean(found) == found
    own = WordTokenizer(tuple(dict.fromkeys(found.split())))
    assert own.decode(own.encode(found)) == found


@given(
    st.lists(st.sampled_from([*KNOWN, "dragon"]), max_size=6), st.sampled_from([" ", ", ", "-", "\n", "_"])
)
def test_what_stands_between_words_does_not_matter(parts, between):
    assert words.encode(between.join(parts)) == words.encode(" ".join(parts))
