"""`unnoise generate`: pictures from a prompt, saved with their recipe, shown as they appear."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.cli import again, asking, cluster, many, outputs, variants
from unnoise.cli.answering import answer, note
from unnoise.cli.asking import Request, request
from unnoise.cli.progress import Progress
from unnoise.cli.threads import fit_threads
from unnoise.cli.watch import Watch
from unnoise.limits import counted

if TYPE_CHECKING:
    from unnoise.pipelines import Denoising, Repeat, Result, TextToImage, TwoPasses
EXAMPLES = (
    'generate "a red apple, 3d" --count 4 --show-every 10',
    'generate "a seven" -m digits --seed 7 --out seven.png --enlarge 16',
    'generate "a house in snow" -m sd15.safetensors --init photo.png',
)
PARTS = (asking.add,)


def _check_known(asked: Request) -> None:
    """Refuse what would be refused once a large model is loaded: what is no picture or guidance."""
    from unnoise import images

    if asked.variant.guidance_rule:
        from unnoise.pipelines.combining import from_text

        from_text(1.0, asked.variant.guidance_rule)
    for path in asked.variant.pictures.values():
        images.read_size(path)


def _look(asked: Request) -> Callable[[Mapping[str, Any]], None]:
    """What refuses, before a model is loaded, a tag, a scheduler, or a size that a model of another program never has.

    Its files tell that, and are read where a size is asked; one of ours is loaded as soon.
    """
    from unnoise.checkpoints import recognise
    from unnoise.pipelines.request import side
    from unnoise.schedulers import names

    blueprint = functools.cache(lambda: recognise(asked.model))
    known = functools.cache(lambda name: names.get(name, asked.options["compat"]))

    def look(options: Mapping[str, Any]) -> None:
        asking.tags(options["prompt"], options)
        if options["scheduler"] is not None:
            known(options["scheduler"])
        for name in ("width", "height"):
            if options[name] is not None and (found := blueprint()) is not None:
                side(name, options[name], found.unit)

    return look


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    asked = request(arguments)
    _check_known(asked)
    if arguments.prompts is not None:
        return _many(asked, arguments)
    _look(asked)({"prompt": asked.prompt, **asked.options})
    begun = time.monotonic()
    pipe = _loaded(asked)
    loaded = time.monotonic()
    repeat = _repeat(asked, pipe)
    if repeat is not None:
        asked = replace(asked, variant=variants.again(asked.variant, repeat))
        pipe = repeat.adapted(pipe, asked.adapters.live)
    options = _whole(asked, repeat)
    denoising = variants.denoise(pipe, options.pop("prompt"), options, asked.variant)
    notes = () if repeat is None else (*repeat.notes, *repeat.differences(denoising.recipes[0]))
    notes += denoising.notes
    note(notes)
    result, watch = _watched(asked, denoising)
    seconds = {"load": loaded - begun, "sample": time.monotonic() - loaded}
    if not asked.json and not asked.show_every:
        _show_small(result)
    paths = _save(asked, result)
    done = _tell(asked, result, paths, watch.finish(result), notes, seconds)
    if not asked.json:
        first, (width, height) = result.recipes[0], result.images[0].size
        sys.stderr.write(
            f"{counted(len(denoising), 'step')} of {first.scheduler}, guidance {first.guidance:g}, {width}x{height}: "
            f"{seconds['sample']:.2f} s (and {seconds['load']:.2f} s to load)\n"
        )
    return done


def _many(asked: Request, arguments: argparse.Namespace) -> int:
    jobs = many.jobs(asked, arguments.prompts, arguments.shard, _look(asked))
    if asked.workers is None:
        found = many.results(asked, _loaded(asked), jobs)
    else:
        cluster.check()
        found = cluster.results(asked, jobs)
    return many.tell(asked, found, len(jobs))


def _loaded(asked: Request) -> TextToImage:
    tells = not asked.json and sys.stderr.isatty()
    if tells:
        sys.stderr.write(f"loading {asked.model} ...\r")
    try:
        pipe = prepared(asked)
    finally:  # a refusal stands on a line of its own too
        if tells:
            sys.stderr.write("\x1b[K")
    fit_threads(pipe.model, asked.options["count"], asked.threads)
    return pipe


def prepared(asked: Request) -> TextToImage:
    """The pipeline with what adapts its model."""
    from unnoise.pipelines import load

    pipe = load(asked.model, engine=asked.engine)
    variants.check_kind(pipe.model, asked.variant)
    return asked.adapters.on(pipe)


def _watched(asked: Request, denoising: Denoising | TwoPasses) -> tuple[Result, Watch]:
    """The result, and what was seen on the way to it."""
    watch = Watch(len(denoising), asked.show_every, asked.frames, asked.animate)
    with Progress(len(denoising), "denoising", quiet=asked.json) as progress:
        for step in denoising:
            progress.reach(step.index + 1)
            watch.see(step, progress)
    return denoising.result(asked.variant.tiled), watch


def _repeat(asked: Request, pipe: TextToImage) -> Repeat | None:
    """What the picture that is to be repeated says of itself, if there is one."""
    from unnoise.pipelines import Repeat

    if asked.source is None:
        return None
    return Repeat.of(asked.source, pipe.model, prompt=asked.prompt, **asked.adapters.folders)


def _whole(asked: Request, repeat: Repeat | None) -> dict[str, Any]:
    """Every argument of the run that all pipelines have."""
    typed = {"prompt": asked.prompt, **asked.options}
    if repeat is not None:
        typed = again.options(repeat, typed)
    texts = {name: typed.get(name) or "" for name in ("prompt", "negative")}
    return typed | texts | {"prompt_style": typed.get("prompt_style") or "a1111"}


def _show_small(result: Result) -> None:
    """Pictures too small for an image viewer appear in the terminal, if there is one with colours."""
    from unnoise import images

    colours = images.terminal_colours(sys.stdout)
    sheet = images.grid(result.images)
    if colours and sheet.width <= 64:
        sys.stdout.write(images.terminal_text(sheet, colours))


def _save(asked: Request, result: Result) -> list[Path]:
    from unnoise import images

    paths = []
    for picture, recipe in zip(result.images, result.recipes, strict=True):
        text = recipe.png_text() if asked.metadata else None
        write = functools.partial(images.write_png, picture=images.enlarge(picture, asked.enlarge), text=text)
        paths.append(outputs.save_new(outputs.candidates(asked.output, recipe.seed), write))
    return paths


def _tell(
    asked: Request,
    result: Result,
    paths: Sequence[Path],
    extra: Mapping[str, str],
    notes: Sequence[str],
    seconds: Mapping[str, float],
) -> int:
    """Say where the pictures are. extra: what else was saved."""
    saved = list(zip(paths, result.recipes, strict=True))
    facts = {
        "images": [{"path": str(path), "recipe": recipe.to_dict()} for path, recipe in saved],
        **extra,
        "notes": list(notes),
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
    }
    words = [f"saved {path}  seed {recipe.seed}" for path, recipe in saved]
    words += [f"saved {where}  {what}" for what, where in extra.items()]
    return answer(asked.json, facts, "\n".join(words))
