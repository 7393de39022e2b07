"""The grammar of the command line, with refusals written for the reader."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

ABOUT = "Turn noise into pictures, and see how: generate from a prompt, train on your own pictures."
EXAMPLES = (
    'generate "a red apple, 3d" --show-every 10',
    "train pictures/ --out run/ --steps 2000",
    'generate "my prompt" -m run/',
    "serve --open",
    "inspect outputs/00001-7.png",
)
RULE = (
    "`unnoise help COMMAND` tells its options. What a command works on follows it: a prompt, a picture, a folder, a "
    "model to look at or to measure. The model that it works with is told by -m MODEL, the place of what it writes by "
    "-o, --out."
)

_DASHES = re.compile("[\u2010-\u2015\u2212]+")
"""What web pages and word processors make of hyphens."""


_SPELLED = re.compile(
    r"(?P<flags>[^ ,]+(, [^ ,]+)*)( (?P<metavar>[^ ]+))?(?P<many> \.\.\.)?( = (?P<default>.+))?"
)


class Refused(Exception):  # noqa: N818 - argparse's part in what the errors module calls InputError
    """Words on the command line that make no sense."""


class Help(argparse.HelpFormatter):
    """Paragraphs are wrapped one by one, and lines that begin with a blank, such as examples, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = (line if line.startswith(" ") else textwrap.fill(line, width) for line in text.splitlines())
        return "\n".join(lines)


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one sentence, and never guesses at shortened options."""

    def __init__(self, *args: object, **options: object) -> None:
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", Help)
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._positionals.title = "arguments"

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse does; what is told by its place as MODEL is taken by -m too, as all other commands have it."""
        if any(action.dest == "model" and not action.option_strings for action in self._actions):
            args = _model_first(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise Refused, argparse's words made plain."""
        usage = f"`{self.prog} --help` shows what it takes."
        if found := re.match(r"argument (\S+?)(?:/\S+)*: expected (one|at least one) argument", message):
            raise Refused(
                f"{found[1]} needs a value after it, {found[1]}=VALUE for one that begins with a hyphen; {usage}"
            )
        if found := re.match(r"the following arguments are required: (.*)", message):
            several = ", " in found[1]
            named = next((" or ".join(one.choices) for one in self._actions if one.choices), "")
            raise Refused(
                f"{found[1]} {'are' if several else 'is'} missing{named and f' ({named})'}; {usage}"
            )
        if found := re.match(r"argument \S+: invalid choice: '(.*?)' \(choose from (.*)\)", message):
            if " " in found[1]:
                raise Refused(
                    f"'{found[1]}' is not a command; for a picture of it: unnoise generate \"{found[1]}\"."
                )
            known = [word.strip(" '") for word in found[2].split(",")]
            raise Refused(f"'{found[1]}' is not a command; {near(found[1], known)} {usage}")
        raise Refused(f"{message}; {usage}")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command that these words ask for: `run` is its function, the rest its raw values.

    Raises Refused. `--help` and `--version` print and end the process, as argparse has it.
    """
    parser = build()
    if argv and argv[0] == "help":
        argv = [*argv[1:], "--help"]
    bare = next((word[:-3] for word in argv if word.startswith("-") and word.endswith("=--")), None)
    if bare is not None:  # of which argparse makes an empty list before Python 3.13
        raise Refused(f"{bare} is --, which is no value; `unnoise --help` shows what commands take.")
    arguments, left = parser.parse_known_args(argv)
    if left:
        raise Refused(_left_over(arguments, left))
    if "run" not in arguments:
        parser.print_help()
        parser.exit()
    return arguments


def build() -> Parser:
    """The whole grammar. Each command's file has examples, options and `run`; none imports its room for that."""
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

    parser = Parser(prog="unnoise", description=ABOUT, epilog=f"{RULE}\n\n{examples(*EXAMPLES)}")
    parser.add_argument("-V", "--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for module, summary in {
        generate: "make pictures from a prompt",
        train: "learn from a folder of pictures",
        serve: "make pictures on a page, or by an HTTP API",
        evaluate: "measure a model or a set of pictures",
        compare: "compare schedulers on a model",
        tune: "fit a scheduler's steps to a model",
        inspect_run: "show every step of one picture on a page",
        inspect: "show what a model or a picture says of itself",
        verify: "make a picture again and say whether it is the same",
        convert: "turn one file into a diffusers folder, or back, without loss",
        models: "list the models that come with unnoise",
        schedulers: "list the schedulers",
    }.items():
        name = module.__name__.rpartition(".")[2].replace("_", "-")
        epilog = examples(*module.EXAMPLES) if module.EXAMPLES else None
        command = commands.add_parser(name, help=summary, description=module.__doc__, epilog=epilog)
        add(command, *module.PARTS)
        if module is not evaluate:  # whose parts are commands
            finish(command, module.run)
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

    found = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(found)}?" if found else f"give one of {', '.join(known)}."


def examples(*words: str) -> str:
    """What the help shows last: commands that run as they are printed."""
    return "\n".join(["examples:", *(f"  unnoise {line}" for line in words)])


def add(command: Parser, *parts: Mapping[str, str] | Callable[[Parser], None]) -> None:
    """Add tables of options, and what these functions add."""
    for part in parts:
        part(command) if callable(part) else options(command, part)


def options(command: argparse._ActionsContainer, table: Mapping[str, str]) -> None:
    """Add options: how the help spells each, and what it says of it.

    "-b, --count N = 1" has a default, which is told, "--lora FILE ..." may be repeated and is a list, "--json" has no
    value, and "MODEL" is told by its place.
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
        if told["default"] is not None:
            about += " (default %(default)s)"
        command.add_argument(*flags, help=about, **more)


def hidden(parser: argparse.ArgumentParser, target: str, *flags: str, action: str = "store") -> None:
    """More spellings of an option, left out of the help. action: "append" for one of a list."""
    parser.add_argument(*flags, dest=target, action=action, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def spellings(parser: argparse.ArgumentParser, table: Mapping[str, Sequence[str]]) -> None:
    """More spellings of options with one value, left out of the help."""
    for target, flags in table.items():
        hidden(parser, target, *flags)


def finish(parser: Parser, run: Callable[[argparse.Namespace], int]) -> None:
    """Say which function runs the command, and keep its options for hints on misspelt ones."""
    shown = [action for action in parser._actions if action.help is not argparse.SUPPRESS]
    listed = [action.option_strings for action in shown]
    if ["-o", "--out"] in listed:
        hidden(parser, "out", "--output")
    places = [
        f"[{one.metavar}]" if one.nargs == "?" else f"{one.metavar}"
        for one in shown
        if not one.option_strings
    ]
    needed = [
        f"{one.option_strings[0]} {one.metavar}" for one in shown if one.option_strings and one.required
    ]
    parser.usage = " ".join(["%(prog)s", *places, *needed, "[OPTION ...]"])
    name = parser.prog.removeprefix("unnoise ")
    parser.set_defaults(run=run, command=name, options=[flag for flags in listed for flag in flags])


def _model_first(words: Sequence[str]) -> Sequence[str]:
    """What follows -m or --model, before all else."""
    for place, word in enumerate(words):
        flag, sign, value = word.partition("=")
        if flag == "--model" and sign:
            return [value, *words[:place], *words[place + 1 :]]
        if word in ("-m", "--model") and len(words) > place + 1:
            return [words[place + 1], *words[:place], *words[place + 2 :]]
    return words


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
