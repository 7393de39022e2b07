"""`unnoise evaluate`: how well a model fits pictures, and how far two sets of pictures are apart."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unnoise.cli import features, parser, values
from unnoise.cli.answering import answer
from unnoise.cli.progress import Progress
from unnoise.cli.threads import fit_threads
from unnoise.errors import InputError
from unnoise.files import check_folder
from unnoise.limits import counted

if TYPE_CHECKING:
    from torch import Tensor

    from unnoise.checkpoints import Model
    from unnoise.cli.features import Encoding
    from unnoise.evaluation import Likelihood, Nearest, SetDistance
    from unnoise.evaluation.likelihood import Method, Space
    from unnoise.evaluation.pictures import Folder, Numbers
    from unnoise.process import Diffuser, NoiseSchedule

_METHODS = {
    "vlb": "the discrete bound",
    "vdm": "the bound in continuous time",
    "ode": "the probability-flow ODE",
}
_LIKELIHOOD = {
    "MODEL": values.MODEL,
    "DATA": "folder of pictures of the model's size, best held out",
    "--method NAME": "; ".join(f"{name}: {what}" for name, what in _METHODS.items())
    + "; all: each (default vlb where the model or --steps gives a chain, else vdm)",
    "--steps N": "steps of the chain (vlb; default the model's own, where it has one)",
    "--calls N": "network calls a picture (vlb, default each step; vdm, default 128)",
    "--tolerance X": "of the solver (ode; default 1e-4)",
    "--probes N": "random probes of the trace (ode; default 1)",
    "--levels N = 256": "grey levels of the pictures",
    "--limit N": "at most so many pictures",
    "--no-captions": "do not tell the model the pictures' captions",
    "--train FOLDER": "training pictures: two simple models are fitted to them, to read beside",
}
_JSON = {"--json": "print one JSON object, and no progress"}
_DISTANCE = {
    "REAL": "folder of pictures, or .npy/.npz of features",
    "MADE": "the same, of generated pictures",
    "--features WHAT = pixels": features.HELP,
    "--neighbours N = 5": "nearest pictures that count, for precision and recall",
    "--limit N": "at most so many pictures of each",
    "--nearest": "name the real picture nearest to each made one",
    "--force": "give the Frechet distance of too few pictures too",
    "--resamples N = 40": "half samples behind the intervals, 0 for none",
    "-s, --seed N = 0": "of the half samples",
    **_JSON,
}
# Option -> the methods that heed it.
_ONLY = {
    "steps": ("vlb",),
    "fit_variance": ("vlb",),
    "calls": ("vlb", "vdm"),
    "tolerance": ("ode",),
    "probes": ("ode",),
}
_count = partial(values.whole, low=1, high=1_000_000, example=100)


def _add(command: parser.Parser) -> None:
    """Two parts and their options."""
    parts = command.add_subparsers(metavar="WHAT", title="what to measure", required=True)
    _add_likelihood(parts)
    _add_distance(parts)


def _add_likelihood(parts: argparse._SubParsersAction[parser.Parser]) -> None:
    about = "how well a model fits held-out pictures: bits for each number, with an error bar"
    part = parts.add_parser(
        "likelihood",
        help=about,
        description=f"`unnoise evaluate likelihood`: {about}.",
        epilog=parser.examples("evaluate likelihood digits pictures/ --limit 100"),
    )
    parser.options(part, _LIKELIHOOD)
    part.add_argument(
        "--fit-variance",
        nargs="?",
        const="256",
        metavar="N",
        help="fit the steps' variance to N of the training pictures (vlb; 256 if N is left out)",
    )
    parser.options(part, {"-s, --seed N = 0": "of every random draw", **_JSON})
    parser.finish(part, run_likelihood)


def _add_distance(parts: argparse._SubParsersAction[parser.Parser]) -> None:
    about = "how far two sets of pictures are apart, with intervals; and which are copies"
    part = parts.add_parser(
        "distance",
        help=about,
        description=f"`unnoise evaluate distance`: {about}.",
        epilog=parser.examples("evaluate distance pictures/ made/ --features emoji --nearest"),
    )
    parser.options(part, _DISTANCE)
    parser.finish(part, run_distance)


EXAMPLES, PARTS = (), (_add,)


def run_likelihood(arguments: argparse.Namespace) -> int:
    """Run `evaluate likelihood`; returns its exit status."""
    methods = _methods(arguments)
    options: dict[str, Any] = {
        "steps": values.maybe(values.whole, "--steps", arguments.steps, 2, 1_000_000, 100),
        "calls": values.maybe(_count, "--calls", arguments.calls),
        "bins": values.whole("--levels", arguments.levels, 2, 65_536, 256),
        "seed": values.whole("--seed", arguments.seed, 0, 2**63 - 1, 0),
    }
    tolerance = values.maybe(values.number, "--tolerance", arguments.tolerance, 1e-12, 1.0, 1e-4) or 1e-4
    probes = values.maybe(values.whole, "--probes", arguments.probes, 1, 10_000, 4) or 1
    limit = values.maybe(_count, "--limit", arguments.limit)
    data, source = values.path("DATA", arguments.data), values.maybe(values.path, "--train", arguments.train)
    fitted = values.maybe(_count, "--fit-variance", arguments.fit_variance)
    if fitted and source is None:
        raise InputError("--fit-variance needs training pictures; give --train FOLDER.")
    for name, heeding in _ONLY.items():
        if getattr(arguments, name) is not None and not set(heeding) & set(methods):
            flag = name.replace("_", "-")
            raise InputError(
                f"--{flag} is for --method {' or '.join(heeding)}, not {' or '.join(methods)}; leave it out."
            )
    for folder in (data, source):  # before a model is loaded
        if folder is not None:
            check_folder(folder)
    from unnoise import checkpoints, evaluation
    from unnoise.evaluation.subject import BATCH

    model = checkpoints.load(values.word("MODEL", arguments.model))
    fit_threads(model, pictures=BATCH)
    shape, space = _seen(model)
    found = evaluation.read_folder(data, shape, limit)
    heard, captioned = _conditioning(model, found.paths, data, not arguments.no_captions)
    train = None if source is None else evaluation.read_folder(source, shape)
    diffuser = model.diffuser
    if fitted and source is not None and train is not None:
        sample = train.spread(fitted)
        told, _ = _conditioning(model, sample.paths, source, not arguments.no_captions)
        diffuser.variance = evaluation.fitted_variance(diffuser, _floats(model, sample), conditioning=told)
    options |= {
        "space": space,
        "conditioning": heard,
        "flow": evaluation.Flow(tolerance=tolerance, probes=probes),
    }
    images = found.pixels if space == "pixels" else _floats(model, found)
    methods = _methods(arguments, model.schedule)
    results = [_measured(diffuser, images, method, arguments.json, options) for method in methods]
    if train is not None and space == "pixels":
        results.append(evaluation.independent_pixels(train.pixels, found.pixels, options["bins"]))
        results.append(evaluation.gaussian(train.pixels, found.pixels, options["bins"]))
    facts = {"captions": captioned, "results": [result.to_dict() for result in results]}
    return answer(arguments.json, facts, _likelihoods(results, captioned))


def _methods(arguments: argparse.Namespace, schedule: NoiseSchedule | None = None) -> tuple[Method, ...]:
    """Those asked for; where none is, the one for which there is a chain of steps or need be none.

    schedule: the model's; before it is known both stand.
    """
    if arguments.method is not None:
        method: Any = values.choice("--method", arguments.method, (*_METHODS, "all"))
        return tuple(_METHODS) if method == "all" else (method,)  # type: ignore[arg-type]
    if arguments.fit_variance or arguments.steps:
        return ("vlb",)
    if schedule is None:
        return "vlb", "vdm"
    from unnoise.process import DiscreteVP

    return ("vlb" if isinstance(schedule, DiscreteVP) else "vdm",)


def _measured(
    diffuser: Diffuser, images: Tensor, method: Method, quiet: bool, options: dict[str, Any]
) -> Likelihood:
    """The likelihood by one method, its progress shown."""
    from unnoise import evaluation

    with Progress(None, _METHODS[method], quiet) as progress:
        return evaluation.bits_per_dim(diffuser, images, method, told=progress.told, **options)


def _seen(model: Model) -> tuple[tuple[int, int, int], Space]:
    """Channels, height and width of the pictures that are read, and what of them the network is judged by."""
    if model.more_text:
        raise InputError(
            "the likelihood of a model with several text encoders is not measured; give one with a single encoder, or "
            "call unnoise.evaluation.bits_per_dim with its conditioning."
        )
    if model.autoencoder is None:
        return model.shape, "pixels"
    config = model.autoencoder.config
    return (config.channels, model.shape[1] * config.factor, model.shape[2] * config.factor), "latent"


def _floats(model: Model, folder: Folder) -> Tensor:
    """The pictures in [-1, 1], or their latents."""
    import torch

    from unnoise.pipelines.latents import encode

    with torch.inference_mode():
        return encode(model, folder.pixels.float() / 127.5 - 1.0).clone()


def _conditioning(
    model: Model, paths: tuple[Path, ...], data: Path, heed: bool
) -> tuple[dict[str, Tensor], bool]:
    """What the network is told of each picture: its first caption, or the empty prompt; and whether any has one."""
    if not model.towers:
        return {}, False
    import torch

    from unnoise.pipelines.prompting import embedded
    from unnoise.training.captions import captions_of

    captions = captions_of(list(paths), data, "auto" if heed else "none")
    with torch.no_grad():
        told = model.conditioning(embedded(model, [(words or ("",))[0] for words in captions]))
    return told, any(captions)


def _likelihoods(results: list[Likelihood], told: bool) -> str:
    lines = [
        line for result in results for line in (str(result), *(f"  {each}" for each in result.conventions))
    ]
    heard = "the model was told the captions" if told else "no captions"
    return "\n".join([*lines, f"{counted(results[0].pictures, 'picture')}; {heard}; less is better"])


def run_distance(arguments: argparse.Namespace) -> int:
    """Run `evaluate distance`; returns its exit status."""
    limit = values.maybe(_count, "--limit", arguments.limit)
    neighbours = values.whole("--neighbours", arguments.neighbours, 1, 1000, 5)
    resamples = values.whole("--resamples", arguments.resamples, 0, 100_000, 40)
    seed = values.whole("--seed", arguments.seed, 0, 2**63 - 1, 0)
    pair = values.path("REAL", arguments.real), values.path("MADE", arguments.made)
    from unnoise import evaluation

    encoding = features.encoding(arguments.features)
    (real, names, name), (made, own, _) = (_features(path, encoding, limit, arguments.json) for path in pair)
    with Progress(None, "intervals", arguments.json) as progress:
        found = evaluation.distance(
            real,
            made,
            features=name,
            neighbours=neighbours,
            resamples=resamples,
            force=arguments.force,
            seed=seed,
            told=progress.told,
        )
    close = evaluation.nearest(made.astype(float), real.astype(float)) if arguments.nearest else None
    told: dict[str, Any] = found.to_dict()
    if close is not None:
        told["nearest"] = [
            {"made": own[place], "real": names[int(index)], "distance": float(close.distance[place])}
            for place, index in enumerate(close.index)
        ]
        told["copies"] = [own[int(place)] for place in close.copies]
    return answer(arguments.json, told, "\n".join(_distances(found, close, told.get("nearest", []))))


def _distances(found: SetDistance, close: Nearest | None, rows: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{found.pictures[0]} and {found.pictures[1]} pictures, features: {found.features}"
    yield from (f"{measure.replace('_', ' '):<20}{value}" for measure, value in found.values.items())
    yield from found.notes
    for row in sorted(rows, key=lambda row: row["distance"])[:10]:
        yield f"{row['made']} is {row['distance']:.4g} from {row['real']}"
    if close is not None:
        copies = "1 looks like a copy" if len(close.copies) == 1 else f"{len(close.copies)} look like copies"
        yield f"{copies} (usual distance {close.usual:.4g})"


def _features(
    path: Path, encoding: Encoding, limit: int | None, quiet: bool
) -> tuple[Numbers, list[str], str]:
    """Feature vectors, the pictures' names, and what they are of."""
    from unnoise import evaluation

    if path.suffix in (".npy", ".npz"):
        array = evaluation.read_array(path)[:limit]
        return array, [str(place) for place in range(len(array))], "given"
    folder = evaluation.read_folder(path, None, limit)
    with Progress(None, f"features of {path.name}", quiet) as progress:
        made = encoding.encode(folder.pixels, progress.told)
    return made, [str(file) for file in folder.paths], encoding.named(folder.pixels.shape)
