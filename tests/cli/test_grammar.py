"""The command line as one instrument: what is the same is called the same, and answered the same."""

import argparse
import re
import shlex

import pytest

from unnoise.cli import train
from unnoise.cli.parser import Refused, build, parse
from unnoise.cli.progress import Progress
from unnoise.training import TrainConfig


def every(parser):
    """This parser, and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from every(one)


COMMANDS = {parser.prog: parser for parser in every(build())}
LISTED = [
    (prog, action)
    for prog, parser in COMMANDS.items()
    for action in parser._actions
    if action.option_strings and action.help is not argparse.SUPPRESS
]


@pytest.mark.parametrize("prog", COMMANDS)
def test_help_fits_80_columns(prog, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, COMMANDS[prog].format_help().splitlines())) <= 80


@pytest.mark.parametrize("prog", COMMANDS)
def test_examples_are_commands(prog):
    shown = re.findall(r"^  unnoise (.*)$", COMMANDS[prog].epilog or "", re.MULTILINE)
    for line in shown:
        parse(shlex.split(line))
    assert shown or prog in ("unnoise evaluate", "unnoise models", "unnoise schedulers")


def test_an_option_is_spelt_the_same_everywhere():
    """Both of its names, the short one too, where it is anywhere: -m, --model is never --model alone."""
    spelt = {}
    for _, action in LISTED:
        spelt.setdefault(action.option_strings[-1], set()).add(tuple(action.option_strings))
    assert {name: found for name, found in spelt.items() if len(found) > 1} == {}


def test_a_short_option_means_one_thing():
    meant = {}
    for _, action in LISTED:
        if len(action.option_strings) > 1:
            meant.setdefault(action.option_strings[0], set()).add(action.option_strings[1])
    assert {short: found for short, found in meant.items() if len(found) > 1} == {}


def test_what_is_written_goes_to_out_and_every_default_is_told():
    for prog, action in LISTED:
        assert action.dest != "output", prog
        if action.default not in (None, False, [], argparse.SUPPRESS):
            assert "(default %(default)s)" in action.help, (prog, action.dest)


def test_the_defaults_that_train_tells_are_those_it_trains_with():
    config = TrainConfig()
    for option, (setting, _, _, *limits) in train._SETTINGS.items():
        if limits:
            table, name = setting.split(".")
            assert getattr(getattr(config, table), name) == limits[-1], option


@pytest.mark.parametrize(
    ("placed", "told"),
    [
        ("compare digits --count 4", "compare --count 4 -m digits"),
        ("tune digits --steps 8", "tune --model=digits --steps 8"),
        (
            "evaluate likelihood digits --limit 5 pictures",
            "evaluate likelihood pictures --limit 5 --model digits",
        ),
        ("generate x --out a.png", "generate x --output a.png"),
        ("serve --lora-dir loras", "serve --loras loras"),
        ("inspect-run x -m digits --out a.html", "inspect-run x -m digits --output a.html"),
    ],
)
def test_another_command_s_way_to_say_it_says_the_same(placed, told):
    assert vars(parse(placed.split())) == vars(parse(told.split()))


@pytest.mark.parametrize(
    "words", [[], ["help"], ["help", "evaluate"], ["help", "compare"], ["help", "evaluate", "distance"]]
)
def test_help_is_what_no_words_and_the_word_help_answer(words, capsys):
    with pytest.raises(SystemExit) as left:
        parse(words)
    assert left.value.code == 0
    prog = " ".join(["unnoise", *(word for word in words if word != "help")])
    assert capsys.readouterr().out.startswith(f"usage: {prog} ")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["genrate"], "'genrate' is not a command; did you mean generate"),
        (["help", "genrate"], "'genrate' is not a command; did you mean generate"),
        (["draw"], "'draw' is not a command; give one of generate, train, "),
        (
            ["a red apple"],
            """'a red apple' is not a command; for a picture of it: unnoise generate "a red apple".""",
        ),
        (["compare", "-m"], "MODEL is missing"),
        (["compare", "digits", "-m", "emoji"], "'digits' is one word too many"),
        (["evaluate"], "WHAT is missing (likelihood or distance)"),
        (["evaluate", "likelihod"], "'likelihod' is not a command; did you mean likelihood?"),
    ],
)
def test_what_is_misspelt_is_answered_with_what_was_meant(words, answer):
    with pytest.raises(Refused) as refused:
        parse(words)
    assert answer in str(refused.value)


@pytest.mark.parametrize(
    ("words", "steps"),
    [
        (("inspect-run", "a seven", "--steps", 3), 3),
        (("verify", "a.png"), 2),
    ],
)
def test_what_makes_a_picture_shows_how_far_it_has_come(run, tiny, monkeypatch, words, steps):
    run("generate", "a seven", "-m", tiny, "--steps", 2, "--seed", 7, "--out", "a.png")
    seen = []
    monkeypatch.setattr(Progress, "told", lambda self, done, total: seen.append((done, total)))
    assert run(*words, "-m", tiny)[0] == 0
    assert seen == [(done, steps) for done in range(1, steps + 1)]
