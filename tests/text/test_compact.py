import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unnoise.errors import InputError
from unnoise.text import CompactTokenizer, Tokenizer, tokenizer_from_config

clip = Tokenizer()
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
digits = CompactTokenizer.from_captions([f"a {word}" for word in WORDS])


def test_the_table_holds_the_words_and_four_special_ids():
    assert digits.size == len(WORDS) + 1 + 4
    assert set(digits.words) == {"a", *WORDS}
    assert (digits.padding, digits.unknown, digits.start, digits.end) == (0, 1, 2, 3)


@given(st.lists(st.sampled_from(["a", *WORDS]), max_size=6))
def test_known_words_come_back_exactly(words):
    text = " ".join(words)
    ids = digits.encode(text)
    assert all(4 <= number < digits.size for number in ids)
    assert digits.decode(ids) == text


def test_a_batch_has_the_form_that_the_full_tokenizer_gives():
    tokens, full = digits(["A  seven", ""], length=6), clip(["a seven", ""], length=6)
    assert tokens.ids[:, 0].tolist() == [2, 2]
    assert tokens.ids[0, 3:].tolist() == [3, 0, 0]
    assert tokens.ids[1].tolist() == [2, 3, 0, 0, 0, 0]
    assert tokens.mask.equal(full.mask)
    assert tokens.cut == ("", "")


def test_unknown_words_become_one_id_and_are_told():
    tokens = digits(["a qzxvish seven, a dog", "a six"], length=None)
    assert tokens.ids.max() < digits.size
    assert tokens.unknown == (("qzxvish", ", "[:1], "dog"), ())
    assert digits.decode(digits.encode("a dog")) == "a [unknown]"


def test_what_is_cut_is_told():
    assert digits("a seven and two more", length=4).cut == ("and two more",)


@pytest.mark.parametrize("prompt", ["", "🎨", "\0", "\ud800", "seven " * 1666, "x" * 10_000])
def test_any_text_is_welcome(prompt):
    assert digits(prompt, length=16).ids.shape == (1, 16)


def test_configurations_round_trip_through_json():
    for tokenizer in (digits, clip, Tokenizer(padding=0)):
        back = tokenizer_from_config(json.loads(json.dumps(tokenizer.config())))
        assert back == tokenizer


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"kind": "other"},
        {"kind": "clip_compact"},
        {"kind": "clip_compact", "ids": "3"},
        {"kind": "clip_compact", "ids": ["a", 1]},
        {"kind": "clip_compact", "ids": [[1]]},
        {"kind": "clip", "padding": "x"},
    ],
)
def test_a_foreign_configuration_is_refused(config):
    with pytest.raises(InputError):
        tokenizer_from_config(config)


@pytest.mark.parametrize("ids", [[-1], [49408], [True], [1.5], ["a"]])
def test_ids_outside_the_full_vocabulary_are_refused(ids):
    with pytest.raises(InputError):
        CompactTokenizer(clip, ids)


def test_decoding_refuses_ids_outside_the_table():
    with pytest.raises(InputError, match="ids 0 to 14"):
        digits.decode([15])


def test_order_and_repeats_of_ids_do_not_matter():
    assert CompactTokenizer(clip, [5, 3, 3, clip.end]) == CompactTokenizer(clip, [3, 5])


def test_a_prompt_of_known_words_is_read_once(monkeypatch):
    read, pieces = [], Tokenizer.pieces
    monkeypatch.setattr(Tokenizer, "pieces", lambda self, text: read.append(text) or pieces(self, text))
    assert digits("a seven").unknown == ((),)
    assert read == ["a seven"]
