"""Prompts that change from step to step, joined by AND, and the tags in them."""

import pytest

from unnoise.text import LoraTag, Prompt
from unnoise.text.prompts import editing

# step from which on a text is said, counted from 1; a point in the number makes it a share of the steps
EDITED = {
    "test": {1: "test"},
    "a [b:3]": {1: "a ", 4: "a b"},
    "a [b: 3 ]": {1: "a ", 4: "a b"},
    "a [[[b]]:2]": {1: "a ", 3: "a [[b]]"},
    "[(a:2):3]": {1: "", 4: "(a:2)"},
    "a [b : c : 1] d": {1: "a b  d", 2: "a  c  d"},
    "a[b:[c:d:2]:1]e": {1: "abe", 2: "ace", 3: "ade"},
    "a [unbalanced": {1: "a [unbalanced"},
    "a [b:.5] c": {1: "a  c", 6: "a b c"},
    "a [b::.5] c": {1: "a b c", 6: "a  c"},
    "a [{b|d{:.5] c": {1: "a  c", 6: "a {b|d{ c"},
    "((a][:b:c [d:3]": {1: "((a][:b:c ", 4: "((a][:b:c d"},
    "[a:b:0.25]": {1: "a", 3: "b"},
    "[a:b:0]": {1: "b"},
    "[a:b:-2]": {1: "b"},
    "[a:b:1.0]": {1: "a"},
    "[a:b:99]": {1: "a"},
    "[a:b:1e400]": {1: "a"},
    "[a:b:c:0.5]": {1: "[a:b:c:0.5]"},
    "[a:b]": {1: "[a:b]"},
    "(a [b:c:0.5]:1.2)": {1: "(a b:1.2)", 6: "(a c:1.2)"},
    r"[a\:b:c\|:0.5]": {1: r"a\:b", 6: r"c\|"},
    "12:30 [a:b:0.5]": {1: "12:30 a", 6: "12:30 b"},
    "a|b": {1: "a|b"},
}


def said(text, steps=10):
    """The texts with the steps at which they begin."""
    tree, found = editing.read(text), {}
    for step in range(steps):
        now = editing.resolve(tree, step, steps)
        if not found or now != list(found.values())[-1]:
            found[step + 1] = now
    return found


@pytest.mark.parametrize("prompt", EDITED)
def test_what_is_said_from_which_step_on(prompt):
    assert said(prompt) == EDITED[prompt]


def test_the_long_example_that_a1111_publishes():
    prompt = (
        "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75]"
        "[ in foreground::0.6][ in background:0.25] [shoddy:masterful:0.5]"
    )
    start = "fantasy landscape with a"
    assert said(prompt, 100) == {
        1: f"{start} mountain and an oak in foreground shoddy",
        26: f"{start} lake and an oak in foreground in background shoddy",
        51: f"{start} lake and an oak in foreground in background masterful",
        61: f"{start} lake and an oak in background masterful",
        76: f"{start} lake and a christmas tree in background masterful",
    }


@pytest.mark.parametrize(
    ("prompt", "turns"),
    [
        ("[a|(b:1.1)]", ["a", "(b:1.1)"]),
        ("[fe|]male", ["female", "male"]),
        ("[fe|||]male", ["female", *["male"] * 3]),
    ],
)
def test_options_take_turns(prompt, turns):
    tree = editing.read(prompt)
    assert [editing.resolve(tree, step, 10) for step in range(10)] == [
        turns[step % len(turns)] for step in range(10)
    ]


def test_a_share_is_of_the_steps_and_a_whole_number_is_a_step():
    for steps in (1, 2, 7, 20, 100):
        tree = editing.read("[a:b:0.5]")
        assert [editing.resolve(tree, step, steps) for step in range(steps)].count("a") == steps // 2
        tree = editing.read("[a:b:5]")
        assert [editing.resolve(tree, step, steps) for step in range(steps)].count("a") == min(steps, 5)


def test_a_prompt_knows_whether_it_changes():
    assert not Prompt.read("a (red:1.2) [apple] AND b").changes
    assert Prompt.read("a ([b:c:0.5])").changes
    assert Prompt.read("a AND [b|c]").changes


def test_parts_have_their_own_schedules_and_weights():
    prompt = Prompt.read("a cat :1.2 AND a [dog:cow:0.5]: -.5 AND it is 12:30 pm")
    assert prompt.composed
    first, last = prompt.at(0, 2), prompt.at(1, 2)
    assert [phrase.weight for phrase in first] == [1.2, -0.5, 1.0]
    assert [phrase.text.strip() for phrase in first] == ["a cat", "a dog", "it is 12:30 pm"]
    assert last[1].text.strip() == "a cow"


def test_without_and_a_number_after_a_colon_is_text():
    """A1111 would heed 'at 12:30' thirty times; nobody means that."""
    (phrase,) = Prompt.read("a clock at 12:30").at(0, 1)
    assert (phrase.text, phrase.weight) == ("a clock at 12:30", 1.0)


def test_and_is_a_word_by_itself():
    assert len(Prompt.read("a BAND and sAND").at(0, 1)) == 1


def test_lora_tags_are_orders_and_leave_the_text():
    prompt = Prompt.read("a <lora:ink v2:0.8>cat<lyco:b:.5:1> <lora:c:te=0.1:unet=0.2> <lora:d>")
    assert prompt.at(0, 1)[0].text == "a cat  "
    assert prompt.loras == (
        LoraTag("ink v2", 0.8, 0.8),
        LoraTag("b", network=1.0, text=0.5),
        LoraTag("c", network=0.2, text=0.1),
        LoraTag("d"),
    )
    assert [lora.shown for lora in prompt.loras][:2] == ["<lora:ink v2:0.8>", "<lora:b:0.5:1>"]


def test_other_tags_are_left_out_and_told_and_other_angles_are_text():
    prompt = Prompt.read("a <style:x> cat <3 < b > c")
    assert prompt.notes == ("the tag '<style:x>' is none that unnoise knows; it is left out",)
    assert prompt.at(0, 1)[0].text == "a  cat <3 < b > c"


def test_a_negative_prompt_has_schedules_and_weights_but_neither_and_nor_tags():
    prompt = Prompt.read("(a:1.2) AND [b:c:0.5] <lora:ink:1>", negative=True)
    assert not prompt.composed
    assert prompt.loras == ()
    assert prompt.at(0, 2)[0].text == "a AND b <lora:ink:1>"
    assert prompt.notes == ("<lora:ink:1> in a negative prompt is read as words; put it in the prompt",)
