"""ComfyUI's and compel's ways to write weights."""

import pytest

from unnoise.errors import InputError
from unnoise.text import LoraTag, Prompt, Tokenizer
from unnoise.text.chunks import chunked

clip = Tokenizer()


def words(text, style):
    """Single words with their weights, whatever the space around them."""
    (phrase,) = Prompt.read(text, style).at(0, 1)
    return [(word, p.weight) for section in phrase.sections for p in section for word in p.text.split()]


COMFYUI = {
    "a (red) apple": [("a", 1), ("red", 1.1), ("apple", 1)],
    "((red))": [("red", 1.1**2)],
    "(red:1.3)": [("red", 1.3)],
    # a number replaces what surrounds it, and brackets in it multiply that
    "((red:1.5))": [("red", 1.5)],
    "((red) blue:1.5)": [("red", 1.5 * 1.1), ("blue", 1.5)],
    "(red:x)": [("red:x", 1.1)],
    r"\(red\)": [("(red)", 1)],
    "[red] BREAK AND": [("[red]", 1), ("BREAK", 1), ("AND", 1)],
    "(red": [("(red", 1)],
    "red) (blue)": [("red)", 1), ("(blue)", 1)],
}
COMPEL = {
    "fire flames": [("fire", 1), ("flames", 1)],
    "fire (flames)": [("fire", 1), ("flames", 1)],
    "fire flames++": [("fire", 1), ("flames", 1.1**2)],
    "fire-- flames": [("fire", 0.9**2), ("flames", 1)],
    "(fire flames)0.5": [("fire", 0.5), ("flames", 0.5)],
    "(fire).5 x": [("fire", 0.5), ("x", 1)],
    '"fire flames"+': [("fire", 1.1), ("flames", 1.1)],
    "(fire).attend(1.3) flames.attend(--)": [("fire", 1.3), ("flames", 0.9**2)],
    "fire (flames (trees)1.5)2.0": [("fire", 1), ("flames", 2), ("trees", 3)],
    "(pretty flowers)+, hot": [("pretty", 1.1), ("flowers", 1.1), (",", 1), ("hot", 1)],
    "fire,flames+": [("fire,", 1), ("flames", 1.1)],
    "hot-dog c+b": [("hot-dog", 1), ("c+b", 1)],
    "a badly formed +test prompt": [(w, 1) for w in ["a", "badly", "formed", "+test", "prompt"]],
    "a badly (formed test": [(w, 1) for w in ["a", "badly", "(formed", "test"]],
    "(((a badly (formed +test )prompt": [(w, 1) for w in ["(((a", "badly", "formed", "+test", "prompt"]],
    r"\(fire\)+": [("(fire)", 1.1)],
    r"fire\+": [("fire+", 1)],
}


@pytest.mark.parametrize("prompt", COMFYUI)
def test_comfyui(prompt):
    assert words(prompt, "comfyui") == [
        (word, pytest.approx(weight, rel=1e-12)) for word, weight in COMFYUI[prompt]
    ]


@pytest.mark.parametrize("prompt", COMPEL)
def test_compel(prompt):
    assert words(prompt, "compel") == [
        (word, pytest.approx(weight, rel=1e-12)) for word, weight in COMPEL[prompt]
    ]


def test_compel_asks_for_loras_in_its_own_words():
    prompt = Prompt.read("a withLora(ink, 0.5) cat useLora(b)", "compel")
    assert prompt.loras == (LoraTag("ink", 0.5, 0.5), LoraTag("b"))
    assert prompt.at(0, 1)[0].text.split() == ["a", "cat"]


@pytest.mark.parametrize("operator", ["blend(1, 1)", "and()", "swap(dog)"])
def test_what_compel_makes_of_several_prompts_is_refused_and_not_read_as_words(operator):
    with pytest.raises(InputError, match="of compel is not read here"):
        Prompt.read(f'("a cat", "a dog").{operator}', "compel")


@pytest.mark.parametrize("style", ["comfyui", "compel"])
def test_too_deep_a_nest_and_too_large_a_weight_are_refused(style):
    with pytest.raises(InputError, match="more than 64 brackets"):
        Prompt.read("(" * 70 + "a" + ")" * 70, style)
    with pytest.raises(InputError, match="is 5000; give one from -100 to 100"):
        Prompt.read("(a:5000)" if style == "comfyui" else "(a)5000", style)


def lengths(text, style):
    (phrase,) = Prompt.read(text, style).at(0, 1)
    return [len(chunk) for chunk in chunked(clip, phrase.sections, 75, style)]


def test_comfyui_keeps_a_word_of_fewer_than_eight_tokens_whole():
    seven, eight = "1234567", "12345678"  # a digit is a token
    assert lengths("red " * 70 + seven, "comfyui") == [70, 7]
    assert lengths("red " * 70 + eight, "comfyui") == [75, 3]
    assert lengths("red " * 70 + seven, "plain") == [75, 2]


def test_compel_goes_back_to_a_full_stop_then_to_any_mark_then_cuts():
    assert lengths("red " * 30 + ". " + "red " * 60, "compel") == [31, 60]
    assert lengths("red " * 30 + ". " + "red " * 10 + ", " + "red " * 50, "compel") == [31, 61]
    assert lengths("red " * 30 + ", " + "red " * 60, "compel") == [31, 60]
    assert lengths("red " * 90, "compel") == [75, 15]
