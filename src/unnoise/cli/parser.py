"""The grammar of the command line, with refusals written for the reader."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

ABOUT = "Turn noise into pictures, and see how: generate from a prompt, train on your own pictures."
EXAMPLES = """examples:
  unnoise generate "a red apple, 3d" --show-every 10
  unnoise train pictures/ --out run/ --steps 2000
  unnoise generate "my prompt" -m run/
  unnoise serve --open
  unnoise inspect outputs/00001-7.png"""

_DASHES = re.compile("[\u2010-\u2015\u2212]+")
"""What web pages and word processors make of hyphens."""


_SPELLED = re.compile(
    r"(?P<flags>[^ ,]+(, [^ ,]+)*)( (?P<metavar>[^ ]+))?(?P<many> \.\.\.)?( = (?P<default>.+))?"
)


class Refused(Exception):  # noqa: N818 - argparse's part in what the errors module calls InputError
    """Words on the command line that make no sense."""


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one sentence, and never guesses at shortened options."""

    def __init__(self, *args: object, **options: object) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise Refused, argparse's words made plain."""
        usage = f"`{self.prog} --help` shows what it takes."
        if found := re.match(r"argument (\S+?)(?:/\S+)*: expected (one|at least one) argument", message):
            raise Refused(
                f"{found[1]} needs a value after it, {found[1]}=VALUE for one that begins with a hyphen; {usage}"
            )
        if found := re.match(r"the following arguments are required: (.*)", message):
            raise Refused(f"{found[1]} {'are' if ', ' in found[1] else 'is'} missing; {usage}")
        if found := re.match(r"argument \S+: invalid choice: '(.*?)' \(choose from (.*)\)", message):
            known = [word.strip(" '") for word in found[2].split(",")]
            raise Refused(f"'{found[1]}' is not a command; {near(found[1], known)} {usage}")
        raise Refused(f"{message}; {usage}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command that these words ask for: `run` is its function, the rest its raw values.

    Raises Refused. `--help` and `--version` print and end the process, as argparse has it.
    """
    parser = build()
    arguments, left = parser.parse_known_args(argv)
    if left:
        raise Refused(_left_over(arguments, left))
    if "run" not in arguments:
        parser.print_help()
        parser.exit()
    return arguments


def build() -> Parser:
    """The whole grammar. Each command's file adds its own part; none imports its room for that."""
    from unnoise.cli import (
        compare,
        convert,
        evaluate,
        generate,
        inspect,
        inspect_run,
        models,
        schedulers,
        serve,
        train,
        tune,
        verify,
    )

    parser = Parser(prog="unnoise", description=ABOUT, epilog=EXAMPLES)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    measuring = (evaluate, compare, tune)
    looking = (inspect_run, inspect, verify)
    for command in (generate, train, serve, *measuring, *looking, convert, models, schedulers):
        command.add(commands)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for: reading the package's metadata takes 30 ms."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import unnoise

        sys.stdout.write(f"unnoise {unnoise.__version__}\n")
        parser.exit()


def near(word: str, known: Sequence[str]) -> str:
    """The known words that are nearest, as the start of a hint."""
    import difflib

    found = difflib.get_close_matches(word, known, n=3, cutoff=0.5) or known
    return f"did you mean {', '.join(found)}?"


def options(command: argparse._ActionsContainer, table: Mapping[str, str]) -> None:
    """Add options: how the help spells each, and what it says of it.

    "-b, --count N = 1" has a default, "--lora FILE ..." may be repeated and is a list, "--json" has no value, and
    "MODEL" is told by its place.
    """
    for spelled, about in table.items():
        told = _SPELLED.fullmatch(spelled)
        assert told is not None, spelled
        flags, metavar = told["flags"].split(", "), told["metavar"]
        more: dict[str, Any] = {"default": told["default"], "metavar": metavar}
        if not flags[0].startswith("-"):
            flags, more = [flags[0].lower()], {"metavar": flags[0]}
        elif metavar is None:
            more = {"action": "store_true"}
        elif told["many"]:
            more |= {"action": "append", "default": []}
        command.add_argument(*flags, help=about, **more)


def hidden(parser: argparse.ArgumentParser, target: str, *flags: str, action: str = "store") -> None:
    """More spellings of an option, left out of the help. action: "append" for one of a list."""
    parser.add_argument(*flags, dest=target, action=action, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def finish(parser: Parser, name: str, run: Callable[[argparse.Namespace], int]) -> None:
    """Say which function runs the command, and keep its options for hints on misspelt ones."""
    listed = [action.option_strings for action in parser._actions if action.help is not argparse.SUPPRESS]
    parser.set_defaults(run=run, command=name, options=[flag for flags in listed for flag in flags])


def _left_over(arguments: argparse.Namespace, left: Sequence[str]) -> str:
    word, command = left[0].partition("=")[0], getattr(arguments, "command", "")
    usage = f"`{f'unnoise {command}'.strip()} --help` shows what it takes."
    if dash := _DASHES.match(word):
        return f"'{word}' begins with a dash that is no hyphen; type it as --{word[dash.end() :]}."
    if not word.startswith("-"):
        quote = "put a prompt of several words in quotes." if command == "generate" else usage
        return f"'{word}' is one word too many; {quote}"
    options = [flag for flag in getattr(arguments, "options", ()) if flag.startswith("--")]
    return f"{word} is not an option here; {f'{near(word, options)} ' if options else ''}{usage}"
