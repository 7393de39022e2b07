"""The form of an edit, as the fields that JSON would have."""

from __future__ import annotations

import json

from unnoise.server import multipart, pictures
from unnoise.server.refusals import FieldError

_FILES = ("image", "mask")
_WORDS = frozenset(
    ("prompt", "negative_prompt", "negative", "model", "scheduler", "size", "user", "safety_identifier")
)
"""Fields that are text whatever they look like; of the others "20" is a number and "true" is true."""


def fields(body: bytes, content_type: str) -> dict[str, object]:
    """The fields of a form, its picture and mask in base64. Raises InputError; FieldError for a field."""
    found: dict[str, object] = {}
    for part in multipart.parts(body, content_type):
        name = part.name.removesuffix("[]")
        if name in found:
            raise FieldError(name, f"{name} is given twice; give one.")
        if part.file != (name in _FILES):
            wanted = "the file of a picture" if name in _FILES else "plain text, not a file"
            raise FieldError(name[:80], f"{name[:80]} is to be {wanted}.")
        if part.file:
            found[name] = pictures.base64_of(part.content)
        else:
            found[name] = _value(name, part.text())
    if "image" not in found:
        raise FieldError("image", "image is missing; give a PNG, JPEG or WebP file.")
    return found


def _value(name: str, text: str) -> object:
    if name in _WORDS:
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(found, dict) else found
