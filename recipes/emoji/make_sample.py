"""Cut the sample that serves the tests out of the set: 50 well-known concepts in the four styles that are learned.

    python recipes/emoji/make_sample.py build/emoji64 tests/data/emoji200

It has the set's own form, with the set's own rows and files, so that whatever reads the set reads the sample.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from pathlib import Path

from captions import STYLES

_NAMES = (
    "red apple, banana, cherries, grapes, lemon, strawberry, watermelon, avocado, tomato, carrot, hamburger, pizza, "
    "birthday cake, ice cream, doughnut, hot beverage, dog face, cat face, mouse face, pig face, frog, penguin, owl, "
    "fish, octopus, butterfly, snail, turtle, elephant, cat, sunflower, rose, tulip, evergreen tree, cactus, sun, "
    "rainbow, fire, automobile, rocket, house, umbrella, key, guitar, soccer ball, red heart, blue heart, "
    "grinning face, winking face, thumbs up"
)
NAMES = frozenset(_NAMES.split(", "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = (options.set / "captions.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = {line: json.loads(line) for line in lines}
    kept = {line: row for line, row in rows.items() if row["name"] in NAMES and row["style"] in STYLES}
    (options.out / "captions.jsonl").write_text("".join(kept), encoding="utf-8")
    source, target = (folder / "images.webpz" for folder in (options.set, options.out))
    with zipfile.ZipFile(source) as whole, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as sample:
        for row in kept.values():
            name = f"{row['index']:06d}.webp"
            sample.writestr(zipfile.ZipInfo(name), whole.read(name))
    print(f"{len(kept)} pictures in {options.out}: {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
