"""What each emoji is called: name, tags and group by its codepoints, as emojibase gives them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from packages import Files, table

TONES = {
    "1F3FB": "light skin tone",
    "1F3FC": "medium-light skin tone",
    "1F3FD": "medium skin tone",
    "1F3FE": "medium-dark skin tone",
    "1F3FF": "dark skin tone",
}


@dataclass(frozen=True)
class Emoji:
    """One emoji; `tone` is empty for all but the skin-tone variants."""

    name: str
    tone: str
    tags: tuple[str, ...]
    group: str
    subgroup: str


def code_key(codepoints: str) -> str:
    """'1F34E-FE0F' -> '1f34e': lower case, without variation selectors and leading zeros."""
    parts = [part.lstrip("0") for part in re.split(r"[-_ ]", codepoints.lower())]
    return "-".join(part for part in parts if part and part != "fe0f")


def slug(text: str) -> str:
    """A name as icon sets spell it: 'Cook’s hat' -> 'cooks-hat'."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("\u2019", "").replace("'", "")).strip("-")


def read_catalogue(files: Files) -> dict[str, Emoji]:
    """Code -> emoji; a skin-tone variant has the tags of what it is a variant of."""
    groups = table(files, "meta/groups.json")
    names, subnames = groups.get("groups", {}), groups.get("subgroups", {})
    found = {}
    for entry in json.loads(files["en/data.json"]):
        if entry.get("group") is None:  # regional indicators and the like, which are no pictures
            continue
        tags = tuple(entry.get("tags", []))
        place = (names.get(str(entry["group"]), ""), subnames.get(str(entry.get("subgroup")), ""))
        for variant in (entry, *entry.get("skins", [])):
            tone = _tone(variant["hexcode"]) if variant is not entry else ""
            found[code_key(variant["hexcode"])] = Emoji(variant["label"], tone, tags, *place)
    return found


def codes_by_slug(files: Files, catalogue: Mapping[str, Emoji]) -> dict[str, str]:
    """Slug of an emoji's name, in emojibase or in Unicode -> its code; the first of each slug."""
    found: dict[str, str] = {}
    for code, emoji in catalogue.items():
        found.setdefault(slug(emoji.name), code)
    for code, name in table(files, "meta/unicode-names.json").items():
        found.setdefault(slug(name), code_key(code))
    return found


def _tone(codepoints: str) -> str:
    parts = codepoints.split("-")
    return ", ".join(words for code, words in TONES.items() if code in parts)
