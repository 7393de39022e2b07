"""Does it draw what is asked? Four sets of prompts, three judges, the real pictures beside every figure.

    python recipes/emoji/evaluate.py MODEL SET build/evaluation [--encoder emoji] [--seeds 2]

Retrieval: is the right concept, of 100, the nearest to the picture, when only pictures of other drawings may vouch
for it? Style, family and group: is the nearest real picture of another concept in the style asked for, in its family
(flat and 3d are one drawing in two finishes), and of its group (an animal, food, a place)? And does a network that
learned to tell styles see the one asked for?
Memorisation: root mean square difference to the nearest training picture at 16x16, beside that of real pictures held
out.
Writes report.json, sheets of every prompt, and the twelve pictures nearest to a training picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from captions import STYLES, plain
from judges import Judge, lite0, own
from make_data import on_white, read_set
from PIL import Image, ImageDraw
from prompts import COLOURED, OFF_VOCABULARY
from style_judge import learned
from torch import Tensor
from torch.nn import functional as F

import unnoise
from unnoise import images
from unnoise.files import write_text
from unnoise.pipelines import TextToImage

FAMILY = {"noto": "noto", "noto-v1": "noto-v1", "flat": "fluent", "3d": "fluent"}
CHOICES = 100
COPY = 0.03
"""Root mean square difference, pixels in [0, 1], below which a picture is taken for a copy."""


@dataclass(frozen=True, eq=False)
class Real:
    """The pictures of the set that the recipe uses.

    names, styles, splits, groups: one a picture. pixels: (pictures, 3, side, side) in [-1, 1].
    """

    names: tuple[str, ...]
    styles: tuple[str, ...]
    splits: tuple[str, ...]
    groups: tuple[str, ...]
    pixels: Tensor

    def where(self, split: str) -> list[int]:
        """The places of one split."""
        return [place for place, own_split in enumerate(self.splits) if own_split == split]


def read(folder: Path, styles: Sequence[str], side: int, wide: bool = False) -> Real:
    """The recipe's part of the set, in the size that the model makes."""
    rows, pictures = [], []
    for row, picture in read_set(folder, wide):
        if row["style"] not in styles:
            continue
        rows.append(row)
        pictures.append(torch.from_numpy(np.array(on_white(picture))).permute(2, 0, 1))
    keys = ("name", "style", "split", "group")
    names, kinds, splits, groups = (tuple(str(row[key]) for row in rows) for key in keys)
    pixels = F.interpolate(torch.stack(pictures).float() / 127.5 - 1.0, (side, side), mode="area")
    return Real(names, kinds, splits, groups, pixels)


def retrieval(
    features: Tensor, asked: Sequence[int], real: Real, gallery: Tensor, seed: int = 0
) -> dict[str, float]:
    """R@1 and R@5 among 100 concepts: pictures of other families than the one asked for vouch for each."""
    source = np.random.default_rng(seed)
    concepts = sorted(set(real.names))
    scores = F.normalize(features, dim=1) @ F.normalize(gallery, dim=1).T
    ranks = []
    for row, place in zip(scores, asked, strict=True):
        others = [i for i, style in enumerate(real.styles) if FAMILY[style] != FAMILY[real.styles[place]]]
        best: dict[str, float] = {}
        for i in others:
            best[real.names[i]] = max(best.get(real.names[i], -2.0), float(row[i]))
        if real.names[place] not in best:
            continue
        rivals = [name for name in concepts if name in best and name != real.names[place]]
        chosen = source.permutation(len(rivals))[: CHOICES - 1]
        ranks.append(sum(best[rivals[i]] > best[real.names[place]] for i in chosen))
    found = np.array(ranks)
    return {"R@1": float((found < 1).mean()), "R@5": float((found < 5).mean()), "pictures": len(found)}


def style(features: Tensor, asked: Sequence[int], real: Real, gallery: Tensor) -> dict[str, float]:
    """How often the nearest real picture of another concept is in the style asked for, in its family, of its group."""
    scores = F.normalize(features, dim=1) @ F.normalize(gallery, dim=1).T
    found = []
    for row, place in zip(scores, asked, strict=True):
        same = torch.tensor([name == real.names[place] for name in real.names])
        found.append(int(row.masked_fill(same, -2.0).argmax()))
    pairs = list(zip(found, asked, strict=True))
    styles = [(real.styles[got], real.styles[want]) for got, want in pairs]
    return {
        "style": float(np.mean([got == want for got, want in styles])),
        "family": float(np.mean([FAMILY[got] == FAMILY[want] for got, want in styles])),
        "group": float(np.mean([real.groups[got] == real.groups[want] for got, want in pairs])),
    }


def small(pictures: Tensor) -> Tensor:
    """Pictures at 16x16 in [0, 1], flattened."""
    return F.avg_pool2d(pictures.clamp(-1, 1) * 0.5 + 0.5, pictures.shape[-1] // 16).flatten(1)


def nearest(pictures: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """Root mean square difference to the nearest training picture at 16x16, and its place."""
    away = torch.cdist(small(pictures).double(), small(train).double()) / small(train).shape[1] ** 0.5
    found = away.min(1)
    return found.values, found.indices


def copies(away: Tensor) -> dict[str, float]:
    """Share of near copies and the usual distance."""
    return {"share_below_0.03": float((away < COPY).double().mean()), "median": float(away.median())}


def draw(
    pipe: TextToImage,
    prompts: Sequence[str],
    seed: int,
    steps: int | None,
    scheduler: str | None,
    guidance: float | None,
) -> Tensor:
    """A picture of each prompt, (prompts, 3, side, side) in [-1, 1]; picture i has the seed `seed` + i."""
    parts = []
    for start in range(0, len(prompts), 16):
        texts = list(prompts[start : start + 16])
        made = pipe(texts, seed=seed + start, steps=steps, scheduler=scheduler, guidance=guidance).arrays
        parts.append(torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2) * 2.0 - 1.0)
    return torch.cat(parts)


def sheet(pictures: Tensor, labels: Sequence[str], path: Path, across: int = 8, side: int = 128) -> None:
    """A labelled sheet."""
    foot = 14
    rows = -(-len(labels) // across)
    paper = Image.new("RGB", (across * (side + 6), rows * (side + foot + 6)), "white")
    pen = ImageDraw.Draw(paper)
    for place, (picture, label) in enumerate(zip(images.to_pil(pictures), labels, strict=True)):
        x, y = place % across * (side + 6), place // across * (side + foot + 6)
        paper.paste(picture.resize((side, side), Image.Resampling.NEAREST), (x, y))
        pen.text((x + 2, y + side), label[:24], fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    paper.save(path)


def prompt_of(real: Real, place: int) -> str:
    """The plain way to ask for a picture of the set."""
    return f"{plain(real.names[place])}, {STYLES[real.styles[place]]}"


def judged(
    made: Tensor, asked: Sequence[int], real: Real, judges: dict[str, tuple[Judge, Tensor]]
) -> dict[str, dict[str, float]]:
    """What each judge says of drawn pictures, and of the real ones that were asked for."""
    found = {}
    for name, (judge, gallery) in judges.items():
        seen, truth = judge(made), gallery[torch.tensor(asked)]
        figures, ceiling = (
            retrieval(features, asked, real, gallery) | style(features, asked, real, gallery)
            for features in (seen, truth)
        )
        found[name] = figures | {
            f"{key} of real pictures": value for key, value in ceiling.items() if key != "pictures"
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("set", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--encoder", default="emoji")
    parser.add_argument("--styles", default="noto,flat,3d")
    parser.add_argument("--wide", action="store_true", help="all things, as `make_data.py --wide` takes them")
    parser.add_argument("--seen", action="store_true", help="the model learned from held-out pictures too")
    parser.add_argument("--seeds", type=int, default=2, help="pictures of each prompt")
    parser.add_argument("--rows", type=int, default=100, help="training rows asked for")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--scheduler")
    parser.add_argument("--guidance", type=float)
    options = parser.parse_args()
    torch.set_num_threads(1)
    pipe = unnoise.load(options.model)
    real = read(options.set, options.styles.split(","), pipe.model.shape[-1], options.wide)
    judges = {
        name: (judge, judge(real.pixels))
        for name, judge in (("lite0", lite0()), ("own", own(options.encoder)))
    }
    held = [*real.where("pair"), *real.where("concept")]
    styled = learned(real.pixels, real.styles, real.where("train"))
    train = list(range(len(real.names))) if options.seen else real.where("train")
    chosen = np.random.default_rng(0).permutation(train)[: options.rows].tolist()
    sets = {"training rows": chosen}
    if not options.seen:
        sets |= {"unseen pairs": real.where("pair"), "unseen concepts": real.where("concept")}
    report: dict[str, object] = {
        "model": pipe.model.sha256,
        "steps": options.steps,
        "scheduler": options.scheduler,
        "guidance": options.guidance,
        "style judge, real held-out pictures": styled.right(
            real.pixels[torch.tensor(held)], [real.styles[place] for place in held]
        ),
    }
    unseen: list[tuple[str, Tensor]] = []
    for name, places in sets.items():
        asked = [place for place in places for _ in range(options.seeds)]
        texts = [prompt_of(real, place) for place in asked]
        made = draw(pipe, texts, 0, options.steps, options.scheduler, options.guidance)
        away, _ = nearest(made, real.pixels[torch.tensor(train)])
        report[name] = {
            "prompts": len(places),
            **judged(made, asked, real, judges),
            "style by the style judge": styled.right(made, [real.styles[place] for place in asked]),
            "copies": copies(away),
        }
        sheet(
            made[:: options.seeds][:64],
            texts[:: options.seeds][:64],
            options.out / f"{name.replace(' ', '-')}.png",
        )
        unseen += (
            [(text, picture) for text, picture in zip(texts, made, strict=True)]
            if name != "training rows"
            else []
        )
    free = [*OFF_VOCABULARY, *COLOURED]
    made = draw(pipe, free, 0, options.steps, options.scheduler, options.guidance)
    away, _ = nearest(made, real.pixels[torch.tensor(train)])
    agreement = unnoise.evaluation.Alignment.load(options.encoder).agreement(made, free)
    report["free prompts"] = {
        "prompts": len(free),
        "copies": copies(away),
        "agreement": dict(zip(free, (round(float(value), 3) for value in agreement), strict=True)),
    }
    sheet(made, free, options.out / "free-prompts.png")
    report["copies among real held-out pictures"] = copies(
        nearest(real.pixels[torch.tensor(held)], real.pixels[torch.tensor(real.where("train"))])[0]
    )
    unseen += list(zip(free, made, strict=True))
    closest(unseen, real, train, options.out / "closest.png")
    write_text(options.out / "report.json", json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def closest(unseen: Sequence[tuple[str, Tensor]], real: Real, train: Sequence[int], path: Path) -> None:
    """The twelve pictures nearest to a training picture, each beside it."""
    made = torch.stack([picture for _, picture in unseen])
    away, index = nearest(made, real.pixels[torch.tensor(train)])
    order = away.argsort()[:12].tolist()
    pairs, labels = [], []
    for place in order:
        twin = train[int(index[place])]
        pairs += [made[place], real.pixels[twin]]
        labels += [f"{unseen[place][0]}", f"{float(away[place]):.3f} {real.names[twin]}"]
    sheet(torch.stack(pairs), labels, path)


if __name__ == "__main__":
    main()
