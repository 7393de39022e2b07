"""Build the emoji set: 7,642 pictures of 64x64 in five styles, with names, tags and a fixed split.

    pip install resvg-py==0.5.0
    python recipes/emoji/build_set.py build/emoji64

Fetches six npm packages (43 MB) at the versions and hashes of `packages.py` into --packages, refuses one whose licence
is not the expected one, and writes

    images.webpz    a zip of lossless WebP with alpha, one for each row of captions.jsonl
    captions.jsonl  index, style, hexcode, name, tone, tags, group, subgroup, split
    summary.json    counts, what each package says of its origin and licence, and the set's sha256
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from catalogue import codes_by_slug, read_catalogue
from drawings import Drawing, drawings, icon_codes
from packages import PACKAGES, Files, Package, description
from PIL import Image
from rendering import cleared, render
from splits import groups, split_of

SIZE = 64
RECORDED = "22d1b6cb668fd30de9c8b252168b955018a98bb75150e498aee5df318c2be8bc"
"""Hash of the set that the shipped model has learned from."""

Row = dict[str, Any]


def collect(files: Mapping[str, Files]) -> dict[str, dict[str, Drawing]]:
    """Style -> code -> drawing."""
    slugs = codes_by_slug(files["captions"], read_catalogue(files["captions"]))
    styles = {style: content for style, content in files.items() if style != "captions"}
    shared: dict[str, str] = {}
    for content in styles.values():
        shared = icon_codes(content) | shared
    return {style: drawings(content, shared, slugs) for style, content in styles.items()}


def vouched(found: Mapping[str, dict[str, Drawing]]) -> dict[str, dict[str, Drawing]]:
    """The 3d drawings come from a repackager: only what Microsoft's own MIT set `flat` has is kept of them."""
    return {
        style: {code: drawing for code, drawing in own.items() if style != "3d" or code in found["flat"]}
        for style, own in found.items()
    }


def rows(files: Files, found: Mapping[str, dict[str, Drawing]]) -> Iterator[tuple[Row, Drawing]]:
    """Every drawing that has a name, without skin-tone variants, with its row of captions.jsonl."""
    catalogue = read_catalogue(files)
    group_of = groups(catalogue)
    kept = [
        (style, code, drawing)
        for style, own in found.items()
        for code, drawing in own.items()
        if code in catalogue and not catalogue[code].tone
    ]
    for index, (style, code, drawing) in enumerate(kept):
        facts = {"index": index, "style": style, "hexcode": code, **asdict(catalogue[code])}
        yield facts | {"split": split_of(code, group_of[code], style)}, drawing


def write_set(folder: Path, pairs: Sequence[tuple[Row, Image.Image]]) -> None:
    """Write pictures and captions into a new folder."""
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row, _ in pairs)
    (folder / "captions.jsonl").write_bytes(lines.encode())
    with zipfile.ZipFile(folder / "images.webpz", "w", zipfile.ZIP_STORED) as pictures:
        for row, picture in pairs:
            content = io.BytesIO()
            picture.save(content, "WEBP", lossless=True, quality=100, method=4)
            pictures.writestr(zipfile.ZipInfo(f"{row['index']:06d}.webp"), content.getvalue())


def stored_hash(folder: Path) -> str:
    """The sha256 of a set: of captions.jsonl, then of all pixels in its order, as they are read back.

    It is of pixels, not of files: another version of the WebP encoder does not change it.
    """
    lines = (folder / "captions.jsonl").read_bytes()
    with zipfile.ZipFile(folder / "images.webpz") as pictures:
        names = (f"{json.loads(line)['index']:06d}.webp" for line in lines.splitlines())
        return content_hash(lines, (Image.open(io.BytesIO(pictures.read(name))) for name in names))


def content_hash(captions: bytes, pictures: Iterator[Image.Image]) -> str:
    """sha256 over the captions' bytes and the RGBA bytes of each picture.

    A clear pixel counts as zeros: WebP gives it whatever colour is stored in the fewest bytes.
    """
    found = hashlib.sha256(captions)
    for picture in pictures:
        found.update(cleared(np.array(picture.convert("RGBA"))).tobytes())
    return found.hexdigest()


def summary(
    written: Sequence[Row], found: Mapping[str, dict[str, Drawing]], files: Mapping[str, Files]
) -> dict[str, Any]:
    """What the set holds and where it comes from."""
    styles_of = Counter(row["hexcode"] for row in written)
    return {
        "images": len(written),
        "size": SIZE,
        "per_style": dict(Counter(row["style"] for row in written)),
        "in_package": {style: len(own) for style, own in found.items()},
        "concepts": len(styles_of),
        "concepts_by_style_count": dict(sorted(Counter(map(str, styles_of.values())).items())),
        "splits": dict(Counter(row["split"] for row in written)),
        "held_concepts": len({row["hexcode"] for row in written if row["split"] == "concept"}),
        "with_tags": sum(bool(row["tags"]) for row in written),
        "licences": {name: description(content) for name, content in files.items()},
    }


def build(out: Path, archives: Path, packages: Mapping[str, Package] = PACKAGES) -> dict[str, Any]:
    """Build the set into a new folder and return its summary."""
    files = {name: package.read(archives) for name, package in packages.items()}
    found = collect(files)
    pairs = [(row, render(drawing, SIZE)) for row, drawing in rows(files["captions"], vouched(found))]
    write_set(out, pairs)
    facts = summary([row for row, _ in pairs], found, files) | {"sha256": stored_hash(out)}
    (out / "summary.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write, which must not exist yet")
    parser.add_argument(
        "--packages", type=Path, default=Path("build/packages"), help="where archives are kept"
    )
    options = parser.parse_args()
    if options.out.exists():
        raise SystemExit(f"'{options.out}' exists; give a folder that does not exist yet.")
    facts = build(options.out, options.packages)
    print(f"{facts['images']} pictures of {facts['concepts']} emoji in {options.out}; {facts['splits']}")
    same = "as recorded" if facts["sha256"] == RECORDED else f"recorded is {RECORDED}: another renderer?"
    print(f"sha256 {facts['sha256']} ({same})")


if __name__ == "__main__":
    main()
