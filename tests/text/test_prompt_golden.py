"""A1111's prompts: the tokens of each chunk and their weights, worked out by hand from its published rules.

The rules: round brackets 1.1, square ones 1/1.1, a number instead, all multiplied; pieces of one weight are one text;
75 tokens a chunk; when a chunk is full and its last comma is among the last 20 tokens, what follows that comma goes on.
"""

import pytest

from unnoise.errors import InputError
from unnoise.text import Prompt, Tokenizer
from unnoise.text.chunks import chunked
from unnoise.text.prompts import emphasis

clip = Tokenizer()
UP, DOWN = 1.1, 1 / 1.1


def chunks(text, style="a1111"):
    """The words and weights of each chunk."""
    (phrase,) = Prompt.read(text, style).at(0, 1)
    return [
        [(clip.decode([token.id]), token.weight) for token in chunk]
        for chunk in chunked(clip, phrase.sections, 75, style)
    ]


def plain(words):
    return [(word, 1.0) for word in words.split()]


def times(number, word="red", weight=1.0):
    return [(word, weight)] * number


def text(number, word="red"):
    return " ".join([word] * number)


GOLDEN = {
    "a red apple": [plain("a red apple")],
    "A  Red\tApple": [plain("a red apple")],
    "a (red) apple": [[("a", 1), ("red", UP), ("apple", 1)]],
    "a ((red)) apple": [[("a", 1), ("red", UP**2), ("apple", 1)]],
    "a (red:1.3) apple": [[("a", 1), ("red", 1.3), ("apple", 1)]],
    "a (red: 1.3 ) apple": [[("a", 1), ("red", 1.3), ("apple", 1)]],
    "a (red:-.5) apple": [[("a", 1), ("red", -0.5), ("apple", 1)]],
    "a [red] [[apple]]": [[("a", 1), ("red", DOWN), ("apple", DOWN**2)]],
    "a ([red]:1.5)": [[("a", 1), ("red", 1.5 * DOWN)]],
    "(red (apple:1.5))": [[("red", UP), ("apple", 1.5 * UP)]],
    "(red apple": [[("red", UP), ("apple", UP)]],
    "red) apple]": [plain("red ) apple ]")],
    r"\(red\) \[apple\] \\": [plain("( red ) [ apple ] \\")],
    "red:1.3 apple": [plain("red : 1 . 3 apple")],
    "(red:1.3:2)": [[("red", 2), (":", 2), ("1", 2), (".", 2), ("3", 2)]],
    "(red:1.2.3)": [[("red", UP), (":", UP), ("1", UP), (".", UP), ("2", UP), (".", UP), ("3", UP)]],
    "red BREAK apple": [plain("red"), plain("apple")],
    "BREAK red BREAK": [[], plain("red")],
    "red BREAK BREAK apple": [plain("red"), [], plain("apple")],
    "BREAKFAST red": [plain("breakfast red")],
    "(red BREAK apple:1.2) blue": [[("red", 1.2)], [("apple", 1.2), ("blue", 1)]],
    "": [[]],
    text(75): [times(75)],
    text(80): [times(75), times(5)],
    # full at 75 with the comma at place 60, 15 tokens from the end: what follows it goes on
    f"{text(60)}, {text(30, 'blue')}": [[*times(60), (",", 1)], times(30, "blue")],
    # places 55 and 54: 20 tokens from the end are near enough, 21 are not
    f"{text(55)}, {text(30, 'blue')}": [[*times(55), (",", 1)], times(30, "blue")],
    f"{text(54)}, {text(30, 'blue')}": [[*times(54), (",", 1), *times(20, "blue")], times(10, "blue")],
    # a comma that comes when the chunk is full begins the next one
    f"{text(75)}, blue": [times(75), [(",", 1), ("blue", 1)]],
    f"{text(74)}, blue": [[*times(74), (",", 1)], [("blue", 1)]],
    # weights go on with their words
    f"{text(60)}, ({text(30, 'blue')}:1.4)": [[*times(60), (",", 1)], times(30, "blue", 1.4)],
}


@pytest.mark.parametrize("prompt", GOLDEN, ids=range(len(GOLDEN)))
def test_chunks_and_weights_are_those_of_the_rules(prompt):
    found = chunks(prompt)
    assert [[word for word, _ in chunk] for chunk in found] == [
        [w for w, _ in chunk] for chunk in GOLDEN[prompt]
    ]
    for chunk, wanted in zip(found, GOLDEN[prompt], strict=True):
        assert [weight for _, weight in chunk] == pytest.approx([weight for _, weight in wanted], rel=1e-12)


def pieces(prompt):
    return [(piece.text, piece.weight) for section in emphasis.sections(prompt) for piece in section]


def test_pieces_and_weights_of_the_examples_that_a1111_publishes_are_equal_to_the_bit():
    assert pieces("normal text") == [("normal text", 1.0)]
    assert pieces("an (important) word") == [("an ", 1.0), ("important", 1.1), (" word", 1.0)]
    assert pieces("(unbalanced") == [("unbalanced", 1.1)]
    assert pieces(r"\(literal\]") == [("(literal]", 1.0)]
    assert pieces("(unnecessary)(parens)") == [("unnecessaryparens", 1.1)]
    assert pieces("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).") == [
        ("a ", 1.0),
        ("house", 1.5730000000000004),
        (" ", 1.1),
        ("on", 1.0),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641000000000006),
        (".", 1.1),
    ]


def test_neighbours_of_one_weight_are_one_text_for_the_tokenizer():
    assert chunks("(un)(believable)") == [[("unbelievable", 1.1)]]
    assert [word for word, _ in chunks("(un)believable")[0]] == ["un", "believ", "able"]


def test_plain_takes_every_character_as_it_is():
    assert chunks("(red:1.3) BREAK [a]", "plain") == [plain("( red : 1 . 3 ) break [ a ]")]


def test_too_many_chunks_are_refused_with_their_number():
    with pytest.raises(InputError, match="more than 64 chunks of 75 tokens"):
        chunks(text(4801))
    assert len(chunks(text(4800))) == 64


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("(red:5000)", r"the weight in '\(red:5000\)' is 5000; give one from -100 to 100"),
        ("(red:" + "9" * 400 + ")", "is inf; give one from"),
        ("(" * 65 + "red", "more than 64 brackets inside one another"),
        ("[" * 65 + "red", "more than 64 brackets"),
        (" AND ".join(["red"] * 33), "joins 33 parts by AND; at most 32"),
        ("red <hypernet:ink:1>", "asks for a hypernetwork"),
        ("red <lora:ink:much>", "'much' in the tag '<lora:ink:much>' is no number"),
        ("red <lora: :1>", "makes no sense; write it as <lora:name:0.8>"),
        ("red <lora:ink:1:1:1>", "makes no sense"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(prompt, told):
    with pytest.raises(InputError, match=told):
        Prompt.read(prompt)


def test_a_style_that_is_none_is_refused():
    with pytest.raises(
        InputError, match="prompt_style is 'invoke'; give one of a1111, comfyui, compel, plain"
    ):
        Prompt.read("red", "invoke")
