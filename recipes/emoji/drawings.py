"""The drawings of a package by the codes of their emoji: SVG text of an Iconify set, or picture files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from catalogue import code_key
from packages import Files, table

CODES = re.compile(r"[0-9a-fA-F]{2,6}([-_][0-9a-fA-F]{2,6})*")

Drawing = str | bytes
"""SVG text, or the content of a picture file."""


def drawings(files: Files, shared: Mapping[str, str], slugs: Mapping[str, str]) -> dict[str, Drawing]:
    """Code -> drawing, for either kind of package.

    shared: icon name -> code, from all packages that tell it. slugs: see `catalogue.codes_by_slug`.
    """
    return _icons(files, shared, slugs) if "icons.json" in files else _pictures(files)


def icon_codes(files: Files) -> dict[str, str]:
    """Icon name -> code, as the package itself tells it."""
    return {name: code_key(code) for code, name in table(files, "chars.json").items()}


def _icons(files: Files, shared: Mapping[str, str], slugs: Mapping[str, str]) -> dict[str, Drawing]:
    icons, own = table(files, "icons.json"), icon_codes(files)
    aliases: dict[str, list[str]] = {}
    for alias, of in icons.get("aliases", {}).items():
        aliases.setdefault(of["parent"], []).append(alias)
    found: dict[str, Drawing] = {}
    for name, icon in icons["icons"].items():
        code = _first_code([name, *aliases.get(name, [])], (own, shared, slugs))
        if code is not None and code not in found:
            found[code] = _svg(icons | icon)
    return found


def _first_code(names: Iterable[str], tables: Iterable[Mapping[str, str]]) -> str | None:
    told = [*tables]
    return next((codes[name] for name in names for codes in told if name in codes), None)


def _svg(icon: Mapping[str, Any]) -> str:
    width, height = icon.get("width", 16), icon.get("height", 16)
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}" width="{width}" height="{height}">{icon["body"]}</svg>'
    )


def _pictures(files: Files) -> dict[str, Drawing]:
    found: dict[str, Drawing] = {}
    for path in sorted(map(PurePosixPath, files)):
        if path.suffix in (".webp", ".png") and CODES.fullmatch(path.stem):
            found.setdefault(code_key(path.stem), files[str(path)])
    return found
