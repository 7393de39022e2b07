"""Write the emoji set as folders of PNGs with captions, and the file of words that goes with them.

    python recipes/emoji/make_data.py SET build/emoji              # the split: what is held out stays out
    python recipes/emoji/make_data.py SET build/emoji-all --all    # every picture, to ship
    python recipes/emoji/make_data.py SET build/emoji-wide --wide --styles noto,noto-v1,flat,3d   # for a GPU

SET holds images.webpz and captions.jsonl, as `build_set.py` makes them. Folders are named as `unnoise train` with
data.repeats reads them: pictures below `6_plain` count six times in an epoch, recoloured ones once.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

from captions import COLOUR_WORDS, STYLES, captions, coloured, concepts
from colours import HUES, main_colour, recoloured
from PIL import Image

PLAIN, NEW, RECOLOURED = "6_plain", "12_new", "1_recoloured"
LEFT_OUT = ("people-body", "symbols", "flags", "component")
"""Groups that a wide set goes without: a gender and a hair are a few pixels, and signs are letters."""
RECOLOUR_GROUPS = ("food-drink", "animals-nature", "objects", "travel-places", "activities")


def read_set(folder: Path, wide: bool = False) -> Iterator[tuple[dict[str, object], Image.Image]]:
    """Each row of the set that the model learns from, with its picture (64x64 RGBA).

    wide: all concepts but those of the groups left out, not those of concepts.txt alone.
    """
    wanted = concepts()
    with zipfile.ZipFile(folder / "images.webpz") as pictures:
        for line in (folder / "captions.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            known = row["group"] not in LEFT_OUT if wide else row["name"] in wanted
            if known and row["style"] in STYLES:
                content = pictures.read(f"{row['index']:06d}.webp")
                yield row, Image.open(io.BytesIO(content)).convert("RGBA")


def on_white(picture: Image.Image) -> Image.Image:
    """The picture on a white ground."""
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def write(
    folder: Path, row: dict[str, object], picture: Image.Image, lines: list[str], mark: str = ""
) -> None:
    """One PNG and its captions."""
    stem = folder / f"{row['index']:06d}{mark}"
    on_white(picture).save(stem.with_suffix(".png"))
    stem.with_suffix(".txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def other_colours(row: dict[str, object], colour: str, count: int = 2) -> list[str]:
    """Colours to turn a picture to: fixed by its place in the set."""
    rest = [word for word in HUES if word != colour]
    start = int(hashlib.sha256(str(row["index"]).encode()).hexdigest(), 16) % len(rest)
    return [rest[(start + 2 * place) % len(rest)] for place in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--styles", default="noto,flat,3d", help="which of the set's styles (default noto,flat,3d)"
    )
    parser.add_argument("--all", action="store_true", help="held-out pictures too, which then count double")
    parser.add_argument("--wide", action="store_true", help="all things, not those of concepts.txt alone")
    options = parser.parse_args()
    folders = {name: options.out / name for name in (PLAIN, NEW, RECOLOURED)}
    for folder in folders.values() if options.all else (folders[PLAIN], folders[RECOLOURED]):
        folder.mkdir(parents=True, exist_ok=True)
    wanted, count = concepts(), 0
    for row, picture in read_set(options.set, options.wide):
        new = row["split"] != "train"
        if row["style"] not in options.styles.split(",") or (new and not options.all):
            continue
        more = wanted.get(str(row["name"]), [])
        colour = main_colour(picture) if row["group"] in RECOLOUR_GROUPS else None
        write(folders[NEW if new else PLAIN], row, picture, captions(row, more, colour))
        count += 1
        if colour is not None and not set(str(row["name"]).split()) & set(COLOUR_WORDS):
            for after in other_colours(row, colour):
                turned = recoloured(picture, colour, after)
                write(folders[RECOLOURED], row, turned, coloured(row, more, after), f"-{after}")
    print(
        f"{count} pictures and {len(list(folders[RECOLOURED].glob('*.png')))} recoloured ones in {options.out}"
    )


if __name__ == "__main__":
    main()
