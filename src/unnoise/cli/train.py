"""`unnoise train`: from a folder of pictures, with captions or without, to a model."""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.cli import outputs, parser
from unnoise.cli.answering import answer, note
from unnoise.cli.progress import Progress
from unnoise.cli.values import number, path, whole, widths, word
from unnoise.errors import InputError
from unnoise.files import check_folder
from unnoise.limits import counted

if TYPE_CHECKING:
    from unnoise.training import Event, Started, TrainConfig

_WIDTHS = "model.network.widths"
_MANY = 10**9

# Option -> the setting it stands for, its help, how its text is checked, and within which limits; last the default.
_SETTINGS: dict[str, tuple[Any, ...]] = {
    "--steps N": ("run.steps", "steps of the optimizer", whole, 1, _MANY, 10_000),
    "--batch N": ("run.batch", "pictures for each step", whole, 1, _MANY, 64),
    "--size N": ("model.size", "side of the pictures, in pixels", whole, 4, 4096, 32),
    "--channels N,N": (_WIDTHS, "width of each level of the network, such as 64,128", widths),
    "--lr N": ("optimizer.lr", "learning rate", number, 0, 10, 3e-4),
    "--checkpoint-every N": ("run.checkpoint_every", "steps between checkpoints", whole, 0, _MANY, 1000),
    "--sample-every N": ("run.sample_every", "steps between sample sheets", whole, 0, _MANY, 1000),
    "--lora MODEL": ("lora.model", "learn a LoRA for this model, which stays as it is", word),
    "--rank N": ("lora.rank", "rank of the LoRA", whole, 1, 4096, 8),
    "--finetune MODEL": ("finetune.model", "let all weights of a copy of this model learn on", word),
    "--teach MODEL": ("word.model", "teach this model a word (--word, --like), and nothing else", word),
    "--word WORD": ("word.word", "the new word, such as '<toy>'", word),
    "--like WORD": ("word.like", "a known word that it begins as", word),
    "--caption TEXT": ("data.caption", "the words of every picture", word),
    "--prior TEXT": ("prior.prompt", "keep this class: it is shown beside the pictures (DreamBooth)", word),
    "-s, --seed N": ("run.seed", "of every random draw", whole, 0, _MANY, 0),
    "--workers N": ("run.workers", "threads that read ahead", whole, 0, 256, 0),
}

_DATA = {
    "DATA": "folder of PNG, JPEG or WebP; captions: a.txt beside a.png, metadata.jsonl or .csv, or the folders' names"
}
_OPTIONS = {
    "--config FILE": "settings in TOML; options below change single ones",
    **{
        option: f"{about} ({setting}{f', default {limits[-1]:g}' if limits else ''})"
        for option, (setting, about, _, *limits) in _SETTINGS.items()
    },
    "--set KEY=VALUE ...": "any setting, such as optimizer.ema=0.99; may be repeated",
    "--resume": "go on from the run's newest complete checkpoint",
    "--strict": "refuse a corrupt picture instead of skipping it",
    "--shard": "processes of torchrun share the weights too (run.shard)",
    "--plan": "tell pictures, steps, memory and time, and train nothing",
    "--json": "print each event as a line of JSON, and no progress",
}
_MORE_SPELLINGS = {
    "out": ("--output_dir", "--output-dir"),
    "steps": ("--max_train_steps", "--max-train-steps"),
    "batch": ("--train_batch_size", "--batch-size", "--batch_size"),
    "size": ("--resolution",),
    "lr": ("--learning_rate", "--learning-rate"),
    "checkpoint_every": ("--checkpointing_steps",),
    "caption": ("--instance_prompt",),
    "prior": ("--class_prompt",),
    "word": ("--placeholder_token",),
    "like": ("--initializer_token",),
}
EXAMPLES = (
    "train pictures/ --out run/ --steps 2000",
    "train pictures/ --out run/ --resume",
    "train pictures/ --out ink/ --lora model.safetensors --rank 8",
)


def _add_out(command: parser.Parser) -> None:
    about = "folder of the run, new unless it is resumed"
    command.add_argument("-o", "--out", required=True, metavar="RUN", help=about)


PARTS = (_DATA, _add_out, _OPTIONS, partial(parser.spellings, table=_MORE_SPELLINGS))


def config(arguments: argparse.Namespace) -> TrainConfig | None:
    """The settings that the words ask for; None where a resumed run keeps its own. Torch is not needed."""
    from unnoise.training import TrainConfig, run_folder, settings

    changes = []
    for option, (setting, _, read, *limits) in _SETTINGS.items():
        flag = option.split()[-2]
        text = getattr(arguments, flag[2:].replace("-", "_"))
        if text is not None:
            read(flag, text, *limits)
            changes.append(f"{setting}=[{text}]" if setting == _WIDTHS else f"{setting}={text}")
    changes += ["data.strict=true"] * arguments.strict + ["run.shard=true"] * arguments.shard + arguments.set
    out = path("--out", arguments.out)
    own = out / run_folder.CONFIG
    if arguments.config is not None:
        base = settings.read(path("--config", arguments.config))
    elif arguments.resume and own.is_file():
        base = settings.read(own)
    else:
        base = TrainConfig()
    asked = settings.override(base, changes)
    _check_base(asked, changes)
    agreed: TrainConfig = run_folder.agree(out, asked, arguments.resume)
    return agreed


_BASES = {
    "lora": ("--lora", "digits"),
    "word": ("--teach", "sd15.safetensors"),
    "finetune": ("--finetune", "sd15.safetensors"),
}


def _check_base(asked: TrainConfig, changes: Sequence[str]) -> None:
    """Raises InputError for words about the model where that is given, or about what it learns where there is none."""
    from unnoise.checkpoints.locations import find_foreign

    said = {change.partition(".")[0]: change for change in changes}
    if asked.base and "model" in said:
        sized = said["model"].startswith("model.size=") and find_foreign(asked.base) is not None
        if not sized:
            raise InputError(
                f"{said['model']} is asked for, but what is learned begins with '{asked.base}', whose size, network "
                "and schedule hold; leave it out."
            )
    for table, (flag, example) in _BASES.items():
        if table in said and not getattr(asked, table).model:
            raise InputError(
                f"{said[table]} is asked for without a model; give one with {flag}, for example {example}."
            )


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    data, out = path("DATA", arguments.data), path("--out", arguments.out)
    asked = config(arguments)
    check_folder(data)
    outputs.check_output("--out", out, ())
    from unnoise.training import train

    first = os.environ.get("RANK", "0") == "0"  # of processes that train as one, the one that tells
    with Progress(None, "reading pictures", quiet=arguments.json or not first) as reading:
        if arguments.plan:
            return _tell_plan(data, out, asked, reading.told, arguments.json)
        events = train(data, out, asked, arguments.resume, reading.told)
    if first and not arguments.json:
        return _tell(events, out, asked)
    return _tell_json(events, quiet=not first)


def _tell_plan(
    data: Path, out: Path, asked: TrainConfig | None, reading: Callable[[int, int], None], as_json: bool
) -> int:
    from unnoise.training.plan import plan

    found = plan(data, out, asked, reading)
    if not as_json:
        note(found.notes)
    shapes = ", ".join(f"{count:,} of {width}x{height}" for height, width, count in found.buckets)
    told = "tried" if found.tried else "reckoned"
    rows = {
        "pictures": f"{shapes}{'' if found.captioned else ', without captions'}; {found.held_out:,} held out",
        "network": f"{found.parameters:,} parameters on {found.device} in {found.precision}",
        "steps": f"{found.steps:,}, each picture {found.epochs:,.1f} times",
        "memory": f"about {found.memory / 2**30:.2f} GiB ({told})",
        "time": "unknown",
    }
    if found.seconds is not None:
        each = f"{found.seconds_per_step:.3f} s a step, without what is saved"
        rows["time"] = f"about {_duration(found.seconds)} ({each})"
    return answer(as_json, vars(found), "\n".join(f"{name:<9} {text}" for name, text in rows.items()))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _followed(events: Iterator[Event], tell: Callable[[Event], None]) -> Event:
    """Tell each event, and return the last.

    Where nobody listens any more, as at the end of a pipe, the run hears what it hears of SIGTERM: it saves, and ends.
    Raises OSError then.
    """
    for event in events:
        try:
            tell(event)
        except OSError:
            signal.raise_signal(signal.SIGTERM)
            deque(events, maxlen=0)
            raise
    return event


def _tell_json(events: Iterator[Event], quiet: bool) -> int:
    def tell(event: Event) -> None:
        if quiet:
            return
        facts = {  # JSON has no nan; log.jsonl writes it as text too
            key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in vars(event).items()
        }
        sys.stdout.write(json.dumps({"event": type(event).__name__.lower(), **facts}, default=str) + "\n")
        sys.stdout.flush()

    return 130 if type(_followed(events, tell)).__name__ == "Stopped" else 0


def _tell(events: Iterator[Event], out: Path, asked: TrainConfig | None) -> int:
    from unnoise.training import Drawn, Started
    from unnoise.training import Progress as Figures

    event = next(events)
    with Progress(None, "pictures of the class") as drawing:
        while isinstance(event, Drawn):
            drawing.told(event.pictures, event.total)
            event = next(events)
    started = event
    assert isinstance(started, Started)
    _tell_start(started, out)
    with Progress(started.steps, "training", start=started.step) as progress:

        def tell(event: Event) -> None:
            if isinstance(event, Figures):
                figures = f"loss {event.loss:.4f}, {event.images_per_second:,.0f} images/s"
                progress.reach(event.step, figures)
            else:
                progress.write(_sentence(event) + "\n")

        event = _followed(events, tell)
    if type(event).__name__ == "Stopped":
        return 130
    sys.stdout.write(f"try it: unnoise generate {_how(event, out, asked, started.captioned)}\n")
    return 0


def _how(event: Event, out: Path, asked: TrainConfig | None, captioned: bool) -> str:
    """The words after `generate` with which the result is used."""
    from unnoise.training import Finished

    made = event.model if isinstance(event, Finished) else out
    prompt = "PROMPT " if captioned else ""
    if asked is None or asked.tuned not in ("lora", "word"):
        return f"{prompt}-m {shlex.quote(str(out))}"
    base = shlex.quote(asked.base)
    if asked.tuned == "lora":
        return f"{prompt}-m {base} --lora {shlex.quote(str(made))}"
    shown, taught = f"a picture of {asked.word.word}", f"{made}={asked.word.word}"
    return f"{shlex.quote(shown)} -m {base} --embedding {shlex.quote(taught)}"


def _sentence(event: Event) -> str:
    from unnoise.training import Finished, Sampled, Saved, Skipped, Stopped, Validated

    match event:
        case Validated():
            turned = f"; over-fitting since step {event.overfitting_since}"
            known = "" if event.overfitting_since is None else turned
            bits = "" if event.bits is None else f", {event.bits:.3f} +- {event.bits_error:.3f} bits/dim"
            return f"step {event.step}: held-out loss {event.loss:.4f} +- {event.error:.4f}{bits}{known}"
        case Skipped():
            return f"step {event.step}: the loss was {event.loss}; the step was left out"
        case Saved():
            return f"step {event.step}: saved {event.folder}"
        case Sampled():
            return f"step {event.step}: samples in {event.picture}"
        case Stopped():
            return f"stopped at step {event.step}; go on with the same command and --resume"
        case Finished():
            what = "model"
            if event.model.suffix == ".safetensors":
                what = "LoRA" if event.model.stem == "lora" else "word"
            return f"done: the {what} is in {event.model}"
    return str(event)


def _tell_start(started: Started, out: Path) -> None:
    note(started.notes)
    told = "with captions" if started.captioned else "without captions"
    sys.stdout.write(
        f"{counted(started.pictures, 'picture')} {told}; {started.parameters:,} parameters on {started.device} in "
        f"{started.precision}; steps {started.step:,} to {started.steps:,}; run in {out}\n"
    )
    sys.stdout.flush()
