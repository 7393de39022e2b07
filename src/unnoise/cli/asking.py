"""What `unnoise generate` takes: its options, and the typed request that they make. Nothing here needs torch."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.cli import adapting, again, approximate, cluster, many, outputs, parser, variants
from unnoise.cli.values import MODEL, choice, maybe, number, path, size, whole, word
from unnoise.errors import InputError

if TYPE_CHECKING:
    from unnoise.text import LoraTag

_DEFAULT_MODEL = "emoji"
# As `schedulers.names` and `pipelines.start_noise` have them, which need torch.
PROGRAMS = ("diffusers", "k-diffusion", "a1111", "comfyui")
STARTS = ("torch", "cuda")
_SEED = 2**63 - 257


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
    adapters: adapting.Adapters
    variant: variants.Asked
    engine: str = "torch"


_OPTIONS = {
    "-p, --prompt PROMPT": "the same as PROMPT",
    "-m, --model MODEL": f"{MODEL} (default {_DEFAULT_MODEL})",
    "-o, --out PLACE = outputs": "folder, file.png, or pattern-%%03d.png; nothing is replaced",
    "-n, --negative TEXT": "what the picture should not be",
    "--steps N": "steps from noise to picture (default the model's own)",
    "--guidance X": "how strongly to follow the prompt; 1 is without guidance (default the model's own)",
    "--scheduler NAME": "as `unnoise schedulers` lists (default the model's own)",
    "-s, --seed N": "of the first picture; if -1 or left out, random, and printed",
    "-b, --count N = 1": "pictures; picture i has seed + i",
    "--size WxH": "in pixels (default the model's own)",
    "-W, --width N": "in pixels, instead of --size",
    "-H, --height N": "in pixels, instead of --size",
    "--enlarge N = 1": "save each pixel N x N times as large",
    "-t, --threads N": "processor cores to use",
    "--json": "print one JSON object, and no progress",
    "--no-metadata": "leave prompt and settings out of the files",
}
_SEEN = {
    "--show-every N": "show the picture in the terminal after every N steps",
    "--frames FOLDER": "save the predicted picture of those steps (or of each)",
    "--animate FILE": "save the way from noise as .webp or .gif",
}
_ALIKE = {
    "--from IMAGE": "make this picture again (of unnoise, A1111, ComfyUI, InvokeAI, ...); other options change it",
    "--variation SEED:X": "move the start X (0 to 1) of the way to the noise of another seed: pictures alike",
    "--prompt-style NAME": "how weights are written: a1111, comfyui, compel, plain (default a1111)",
    "--clip-skip N": "layer of the text encoder to read, from the end as A1111 counts: 1 the last, 2 the one before, "
    "which diffusers calls clip_skip=1 (default the model's own)",
    "--compat PROGRAM": "the scheduler as this program computes it: diffusers, k-diffusion, a1111, comfyui",
    "--noise NAME": "begin with the noise that other programs draw: torch (CPU) or cuda",
}


_MORE_SPELLINGS = {
    "out": ("--outdir",),
    "negative": ("--negative-prompt", "--negative_prompt"),
    "steps": ("--num_inference_steps", "--num-inference-steps", "--ddim_steps"),
    "guidance": ("--cfg-scale", "--cfg_scale", "--scale", "--guidance_scale", "--guidance-scale"),
    "scheduler": ("--sampler", "--sampling-method", "--sampling_method"),
    "clip_skip": ("--clip_skip",),
    "count": ("--batch-count", "--n_iter", "--batch_size", "--batch-size"),
    "width": ("--W", "--image_width"),
    "height": ("--H", "--image_height"),
    "show_every": ("--show_every", "--preview-interval"),
}


def add(command: parser.Parser) -> None:
    """Add the options; more spellings that people type are taken but not listed."""
    command.add_argument("words", nargs="?", metavar="PROMPT", help='what to make, in quotes: "a red apple"')
    parser.options(command, _OPTIONS)
    parser.options(command.add_argument_group("to see it come"), _SEEN)
    many.add(command)
    variants.add(command)
    adapting.add(command)
    parser.options(command.add_argument_group("as before, or as another program"), _ALIKE)
    approximate.add(command)
    parser.spellings(command, _MORE_SPELLINGS)


def request(arguments: argparse.Namespace) -> Request:
    """The typed request. Raises InputError or FileError; torch is not needed for that."""
    from unnoise.text.prompts import STYLES

    many.check(arguments)
    source, model = maybe(path, "--from", vars(arguments)["from"]), maybe(word, "--model", arguments.model)
    model = (model or _DEFAULT_MODEL) if source is None else again.model_of(source, model)
    options: dict[str, Any] = {
        "negative": arguments.negative,
        "steps": maybe(whole, "--steps", arguments.steps, 1, 1000, 20),
        "guidance": maybe(number, "--guidance", arguments.guidance, 0, 100, 2),
        "scheduler": arguments.scheduler,
        "compat": maybe(choice, "--compat", arguments.compat, PROGRAMS),
        "prompt_style": maybe(choice, "--prompt-style", arguments.prompt_style, STYLES),
        "noise": maybe(choice, "--noise", arguments.noise, STARTS),
        "clip_skip": maybe(whole, "--clip-skip", arguments.clip_skip, 1, 100, 2),
        "cache": approximate.cache(arguments),
        "merge": approximate.merge(arguments),
        "seed": _seed(arguments.seed),
        "variation": maybe(_variation, "--variation", arguments.variation),
        "count": whole("--count", arguments.count, 1, 256, 4),
        **_size(arguments),
    }
    prompt = _prompt(arguments, model, source)
    asked = Request(
        prompt=prompt,
        model=model,
        source=source,
        output=path("--out", arguments.out),
        options=options,
        show_every=maybe(whole, "--show-every", arguments.show_every, 1, 1000, 10),
        frames=maybe(path, "--frames", arguments.frames),
        animate=maybe(path, "--animate", arguments.animate),
        enlarge=whole("--enlarge", arguments.enlarge, 1, 64, 16),
        threads=maybe(whole, "--threads", arguments.threads, 1, 1024, 2),
        workers=maybe(whole, "--ray", arguments.ray, 1, 10_000, 4),
        json=arguments.json,
        metadata=not arguments.no_metadata,
        adapters=adapting.read(arguments, tags(prompt, options)),
        variant=variants.read(arguments),
        engine=approximate.engine(arguments, again.arithmetic_of(source)),
    )
    _check_files(asked)
    return asked


def _seed(text: str | None) -> int | None:
    seed = maybe(whole, "--seed", text, -1, _SEED, 7)
    return secrets.randbelow(2**32) if seed == -1 else seed


def _variation(flag: str, text: str) -> tuple[int, float]:
    seed, _, share = text.partition(":")
    if not (seed.strip() and share.strip()):
        raise InputError(f"{flag} is {text[:40]!r}; give a seed and a share, for example 7:0.1.")
    return whole(flag, seed, 0, _SEED, 7), number(flag, share, 0, 1, 0.1)


def _size(arguments: argparse.Namespace) -> dict[str, int | None]:
    sides = {name: getattr(arguments, name) for name in ("width", "height")}
    if arguments.size is None:
        return {name: maybe(whole, f"--{name}", text, 1, 4096, 32) for name, text in sides.items()}
    for name, text in sides.items():
        if text is not None:
            raise InputError(f"--size is {arguments.size} and --{name} {text}; give one of the two.")
    width, height = size("--size", arguments.size)
    return {"width": width, "height": height}


def _prompt(arguments: argparse.Namespace, model: str, source: Path | None) -> str | None:
    from unnoise.checkpoints import find, is_foreign
    from unnoise.checkpoints.manifest import read_manifest

    heeds = is_foreign(model) or read_manifest(find(model)).text_encoder is not None
    if arguments.words is not None and arguments.prompt is not None:
        raise InputError(
            f"the prompt is given twice, {arguments.words!r} and {arguments.prompt!r}; give one."
        )
    prompt: str | None = arguments.prompt if arguments.words is None else arguments.words
    if prompt is None and heeds and source is None and arguments.prompts is None:
        raise InputError('a prompt is missing; give it in quotes: unnoise generate "a red apple".')
    return prompt


def tags(prompt: str | None, options: Mapping[str, Any]) -> tuple[LoraTag, ...]:
    """The LoRAs that the prompt asks for: brackets, weights and tags are read before anything is loaded."""
    from unnoise.text.prompts import Prompt

    style = options["prompt_style"] or "a1111"
    Prompt.read(options["negative"] or "", style, negative=True)
    return Prompt.read(prompt or "", style).loras


def _check_files(asked: Request) -> None:
    if asked.json and asked.show_every:
        raise InputError("--show-every prints pictures and --json nothing but JSON; give one of the two.")
    outputs.check_output("--out", asked.output, (".png", cluster.ENDING) if asked.workers else (".png",))
    if asked.animate is not None:
        if asked.animate.suffix.lower() not in (".webp", ".gif") or asked.animate.is_dir():
            raise InputError(f"--animate is '{asked.animate}'; give a file that ends in .webp or .gif.")
        outputs.check_output("--animate", asked.animate, (".webp", ".gif"))
    if asked.frames is not None:
        if asked.frames.is_file():
            raise InputError(f"--frames is '{asked.frames}', a file; give a folder.")
        outputs.check_output("--frames", asked.frames, ())
