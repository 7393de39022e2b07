"""`unnoise generate`: pictures from a prompt, saved with their recipe, shown as they appear."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.cli import adapting, again, approximate, cluster, many, outputs, parser, variants
from unnoise.cli.progress import Progress
from unnoise.cli.values import maybe, number, size, whole
from unnoise.cli.watch import Watch
from unnoise.errors import InputError

if TYPE_CHECKING:
    from unnoise.pipelines import Denoising, Recipe, Repeat, Result, TextToImage, TwoPasses
    from unnoise.text import LoraTag

_DEFAULT_MODEL = "emoji"
_LITTLE = 10_000_000  # numbers in the network times pictures


@dataclass(frozen=True)
class Request:
    """What was asked, as values. None leaves a choice to the model.

    options: those of `pipe.denoise`. workers: of a Ray cluster. variant: what it begins from, and how it is guided.
    """

    prompt: str | None
    model: str
    source: Path | None
    output: Path
    options: Mapping[str, Any]
    show_every: int | None
    frames: Path | None
    animate: Path | None
    enlarge: int
    threads: int | None
    workers: int | None
    json: bool
    metadata: bool
    variant: variants.Asked
    engine: str = "torch"


def add(commands: argparse._SubParsersAction[parser.Parser]) -> None:
    """Add the command and its options; more spellings that people type are taken but not listed."""
    command = commands.add_parser("generate", help="make pictures from a prompt", description=__doc__)
    command.add_argument("words", nargs="?", metavar="PROMPT", help='what to make, in quotes: "a seven"')
    command.add_argument("-p", "--prompt", help="the same as PROMPT")
    command.add_argument(
        "-m",
        "--model",
        help=f"name, folder, training run, .safetensors file, or OWNER/NAME on the hub ({_DEFAULT_MODEL})",
    )
    command.add_argument(
        "--from",
        dest="source",
        metavar="IMAGE",
        help="make this picture again (of unnoise, A1111, ComfyUI, InvokeAI, ...); other options change it",
    )
    command.add_argument(
        "-o",
        "--output",
        default="outputs",
        help="folder, file.png, or pattern-%%03d.png (%(default)s/); never replaced",
    )
    command.add_argument("-n", "--negative", metavar="TEXT", help="what the picture should not be")
    command.add_argument(
        "--prompt-style",
        metavar="NAME",
        help="how weights are written: a1111 (the default), comfyui, compel, plain",
    )
    command.add_argument(
        "--clip-skip",
        metavar="N",
        help="layer of the text encoder to read, from the end as A1111 counts: 1 the last, 2 the one before "
        "(in diffusers clip_skip=1)",
    )
    command.add_argument("--steps", metavar="N", help="steps from noise to picture")
    command.add_argument(
        "--guidance", metavar="X", help="how strongly the prompt is heeded; 1 is not at all more"
    )
    command.add_argument("--scheduler", metavar="NAME", help="as `unnoise schedulers` lists")
    command.add_argument(
        "--compat",
        metavar="PROGRAM",
        help="its values of a scheduler: diffusers, k-diffusion, a1111, comfyui",
    )
    command.add_argument(
        "-s", "--seed", metavar="N", help="of the first picture; -1 or none: random, and told"
    )
    command.add_argument(
        "--noise", metavar="NAME", help="the start that other programs draw of a seed: torch (CPU) or cuda"
    )
    command.add_argument("-b", "--count", default="1", metavar="N", help="pictures; picture i has seed + i")
    command.add_argument("--size", metavar="WxH", help="in pixels")
    command.add_argument("-W", "--width", metavar="N", help="in pixels")
    command.add_argument("-H", "--height", metavar="N", help="in pixels")
    command.add_argument(
        "--show-every", metavar="N", help="show the picture in the terminal after every N steps"
    )
    command.add_argument(
        "--frames", metavar="DIR", help="save the predicted picture of those steps (or of each)"
    )
    command.add_argument("--animate", metavar="FILE", help="save the way from noise as .webp or .gif")
    command.add_argument("--enlarge", default="1", metavar="N", help="save each pixel N x N times as large")
    command.add_argument("-t", "--threads", metavar="N", help="processor cores to use")
    command.add_argument("--json", action="store_true", help="print one JSON object, and no progress")
    command.add_argument(
        "--no-metadata", action="store_true", help="leave prompt and settings out of the files"
    )
    adapting.add(command)
    many.add(command)
    approximate.add(command)
    _more_spellings(command)
    variants.add(command)
    parser.finish(command, "generate", run)


def _more_spellings(command: parser.Parser) -> None:
    for target, flags in {
        "output": ("--outdir", "--out"),
        "negative": ("--negative-prompt", "--negative_prompt"),
        "steps": ("--num_inference_steps", "--num-inference-steps", "--ddim_steps"),
        "guidance": ("--cfg-scale", "--cfg_scale", "--scale", "--guidance_scale", "--guidance-scale"),
        "scheduler": ("--sampler", "--sampling-method", "--sampling_method"),
        "clip_skip": ("--clip_skip",),
        "count": ("--batch-count", "--n_iter", "--batch_size", "--batch-size"),
        "width": ("--W", "--image_width"),
        "height": ("--H", "--image_height"),
        "show_every": ("--show_every", "--preview-interval"),
    }.items():
        parser.hidden(command, target, *flags)


def request(arguments: argparse.Namespace) -> Request:
    """The typed request. Raises InputError or FileError; torch is not needed for that."""
    from unnoise import checkpoints

    many.check(arguments)
    source = arguments.source and Path(arguments.source).expanduser()
    model = again.model_of(source, arguments.model) if source else arguments.model or _DEFAULT_MODEL
    options: dict[str, Any] = {
        "negative": arguments.negative,
        "steps": maybe(whole, "--steps", arguments.steps, 1, 1000, 20),
        "guidance": maybe(number, "--guidance", arguments.guidance, 0, 100, 2),
        "scheduler": arguments.scheduler,
        "compat": arguments.compat,
        "prompt_style": arguments.prompt_style,
        "noise": arguments.noise,
        "clip_skip": maybe(whole, "--clip-skip", arguments.clip_skip, 1, 100, 2),
        "cache": approximate.cache(arguments),
        "seed": _seed(arguments.seed),
        "count": whole("--count", arguments.count, 1, 256, 4),
        **_size(arguments),
    }
    asked = Request(
        prompt=_prompt(arguments, model, checkpoints.is_foreign(model)),
        model=model,
        source=source,
        output=Path(arguments.output).expanduser(),
        options=options,
        show_every=maybe(whole, "--show-every", arguments.show_every, 1, 1000, 10),
        frames=arguments.frames and Path(arguments.frames).expanduser(),
        animate=arguments.animate and Path(arguments.animate).expanduser(),
        enlarge=whole("--enlarge", arguments.enlarge, 1, 64, 16),
        threads=maybe(whole, "--threads", arguments.threads, 1, 1024, 2),
        workers=maybe(whole, "--ray", arguments.ray, 1, 10_000, 4),
        json=arguments.json,
        metadata=not arguments.no_metadata,
        variant=variants.read(arguments),
        engine=approximate.engine(arguments),
    )
    _check_files(asked)
    return asked


def _seed(text: str | None) -> int | None:
    seed = maybe(whole, "--seed", text, -1, 2**63 - 257, 7)
    return secrets.randbelow(2**32) if seed == -1 else seed


def _size(arguments: argparse.Namespace) -> dict[str, int | None]:
    sides = {name: getattr(arguments, name) for name in ("width", "height")}
    if arguments.size is None:
        return {name: maybe(whole, f"--{name}", text, 1, 4096, 32) for name, text in sides.items()}
    for name, text in sides.items():
        if text is not None:
            raise InputError(f"--size is {arguments.size} and --{name} {text}; give one of the two.")
    width, height = size("--size", arguments.size)
    return {"width": width, "height": height}


def _prompt(arguments: argparse.Namespace, model: str, foreign: bool) -> str | None:
    from unnoise.checkpoints import find
    from unnoise.checkpoints.manifest import read_manifest

    heeds = foreign or read_manifest(find(model)).text_encoder is not None
    if arguments.words is not None and arguments.prompt is not None:
        raise InputError(
            f"the prompt is given twice, {arguments.words!r} and {arguments.prompt!r}; give one."
        )
    prompt: str | None = arguments.prompt if arguments.words is None else arguments.words
    if prompt is None and heeds and arguments.source is None and arguments.prompts is None:
        raise InputError('a prompt is missing; give it in quotes: unnoise generate "a red apple".')
    return prompt


def _tags(asked: Request) -> tuple[LoraTag, ...]:
    """The LoRAs that the prompt asks for: brackets, weights and tags are read before anything is loaded."""
    from unnoise.text.prompts import STYLES, Prompt

    style = asked.options["prompt_style"] or "a1111"
    if style not in STYLES:
        raise InputError(f"--prompt-style is '{style}'; give one of {', '.join(STYLES)}.")
    Prompt.read(asked.options["negative"] or "", style, negative=True)
    return Prompt.read(asked.prompt or "", style).loras


def _check_files(asked: Request) -> None:
    if asked.json and asked.show_every:
        raise InputError("--show-every prints pictures and --json nothing but JSON; give one of the two.")
    outputs.check_output("--output", asked.output, (".png", cluster.ENDING) if asked.workers else (".png",))
    if asked.animate is not None:
        if not asked.animate.suffix or asked.animate.is_dir():
            raise InputError(f"--animate is '{asked.animate}'; give a file that ends in .webp or .gif.")
        outputs.check_output("--animate", asked.animate, (".webp", ".gif"))
    if asked.frames is not None:
        if asked.frames.is_file():
            raise InputError(f"--frames is '{asked.frames}', a file; give a folder.")
        outputs.check_output("--frames", asked.frames / "frames", ())


def run(arguments: argparse.Namespace) -> int:
    """Run the command; returns its exit status."""
    asked = request(arguments)
    # a missing file is told before anything is loaded
    adapting.loras(arguments, _tags(asked))
    adapting.controls(arguments)
    adapting.refiner(arguments)
    if arguments.prompts:
        return _many(asked, arguments)
    begun = time.monotonic()
    pipe = _loaded(asked, arguments)
    loaded = time.monotonic()
    repeat = _repeat(asked, pipe, adapting.folders(arguments))
    if repeat is not None:
        asked = replace(asked, variant=variants.again(asked.variant, repeat))
        pipe = repeat.adapted(pipe, arguments.lora_live)
    options = _whole(asked, repeat)
    denoising = variants.denoise(pipe, options.pop("prompt"), options, asked.variant)
    notes = () if repeat is None else (*repeat.notes, *repeat.differences(denoising.recipes[0]))
    notes += denoising.notes
    for note in notes:
        sys.stderr.write(f"unnoise: note: {note}\n")
    result, watch = _watched(asked, denoising)
    sampled = time.monotonic()
    if not asked.json and not asked.show_every:
        _show_small(result)
    paths = _save(asked, result)
    extra = watch.finish(result)
    seconds = {"load": loaded - begun, "sample": sampled - loaded}
    if asked.json:
        _tell_json(denoising, paths, extra, seconds, notes)
    else:
        _tell(denoising, paths, extra, seconds)
    return 0


def _many(asked: Request, arguments: argparse.Namespace) -> int:
    rows = many.jobs(arguments.prompts, arguments.shard, asked.options["seed"])
    if asked.workers is None:
        found = many.results(asked, _loaded(asked, arguments), rows)
    else:
        cluster.check()
        found = cluster.results(asked, arguments, rows)
    return many.tell(asked, found, len(rows))


def _loaded(asked: Request, arguments: argparse.Namespace) -> TextToImage:
    tells = not asked.json and sys.stderr.isatty()
    if tells:
        sys.stderr.write(f"loading {asked.model} ...\r")
    import torch

    pipe = prepared(asked, arguments)
    torch.set_num_threads(asked.threads or _threads(pipe, asked))
    if tells:
        sys.stderr.write("\x1b[K")
    return pipe


def prepared(asked: Request, arguments: argparse.Namespace) -> TextToImage:
    """The pipeline with what adapts its model."""
    from unnoise.pipelines import load

    return adapting.adapted(load(asked.model, engine=asked.engine), arguments, _tags(asked))


def _watched(asked: Request, denoising: Denoising | TwoPasses) -> tuple[Result, Watch]:
    """The result, and what was seen on the way to it."""
    watch = Watch(len(denoising), asked.show_every, asked.frames, asked.animate)
    with Progress(len(denoising), "denoising", quiet=asked.json) as progress:
        for step in denoising:
            progress.reach(step.index + 1)
            watch.see(step, progress)
    result = denoising.result(asked.variant.tiled)
    return result, watch


def _repeat(asked: Request, pipe: TextToImage, folders: Mapping[str, Any]) -> Repeat | None:
    """What the picture that is to be repeated says of itself, if there is one."""
    from unnoise.pipelines import Repeat

    return (
        None if asked.source is None else Repeat.of(asked.source, pipe.model, prompt=asked.prompt, **folders)
    )


def _whole(asked: Request, repeat: Repeat | None) -> dict[str, Any]:
    """Every argument of the run that all pipelines have."""
    typed = {"prompt": asked.prompt, **asked.options}
    if repeat is not None:
        typed = again.options(repeat, typed)
    texts = {name: typed.get(name) or "" for name in ("prompt", "negative")}
    return typed | texts | {"prompt_style": typed.get("prompt_style") or "a1111"}


def _threads(pipe: TextToImage, asked: Request) -> int:
    """One where the work of a step is so small that threads wait for each other longer than they compute."""
    import torch

    numbers = sum(tensor.numel() for tensor in pipe.model.network.parameters())
    return 1 if numbers * asked.options["count"] < _LITTLE else torch.get_num_threads()


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
        write = partial(images.write_png, picture=images.enlarge(picture, asked.enlarge), text=text)
        paths.append(outputs.save_new(outputs.candidates(asked.output, recipe.seed), write))
    return paths


def _tell(
    run: Denoising | TwoPasses, paths: list[Path], extra: Mapping[str, str], seconds: Mapping[str, float]
) -> None:
    first: Recipe = run.recipes[0]
    for path, recipe in zip(paths, run.recipes, strict=True):
        sys.stdout.write(f"saved {path}  seed {recipe.seed}\n")
    for what, where in extra.items():
        sys.stdout.write(f"saved {where}  {what}\n")
    sys.stderr.write(
        f"{len(run)} steps of {first.scheduler}, guidance {first.guidance:g}, {first.width}x{first.height}: "
        f"{seconds['sample']:.2f} s (and {seconds['load']:.2f} s to load)\n"
    )


def _tell_json(
    run: Denoising | TwoPasses,
    paths: list[Path],
    extra: Mapping[str, str],
    seconds: Mapping[str, float],
    notes: tuple[str, ...],
) -> None:
    pictures = [
        {"path": str(path), "recipe": recipe.to_dict()}
        for path, recipe in zip(paths, run.recipes, strict=True)
    ]
    rounded = {name: round(value, 4) for name, value in seconds.items()}
    told = {"images": pictures, **extra, "notes": list(notes), "seconds": rounded}
    sys.stdout.write(json.dumps(told) + "\n")
