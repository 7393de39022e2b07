"""Forms with files, as `multipart/form-data` (RFC 7578) carries them: fields and files, or a refusal.

Read here rather than by a library: Python's `email` parser is lenient where a form must be exact, and splits
binary files into lines; python-multipart, starlette's, parses while a body comes in, which is worth its code (and
its three advisories of 2024 to 2026) only for bodies too large to hold. Ours are whole, and bounded, before they are
read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from unnoise.errors import InputError

PARTS = 64
"""Parts of a form; a request has a dozen."""

_HEAD = 4096  # bytes of a part's headers
_BOUNDARY = re.compile(r"""[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]""")
_QUOTED = r'"((?:[^"\\\r\n]|\\.)*)"'
_PARAMETER = re.compile(rf";\s*([a-z]+)\s*=\s*(?:{_QUOTED}|([^;\s\"]+))", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One part. name: of the field. content: its bytes. file: whether it came as a file."""

    name: str
    content: bytes
    file: bool

    def text(self) -> str:
        """The content of a field. Raises InputError where it is not UTF-8."""
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"the field '{self.name[:80]}' is not UTF-8; send text so.") from error


def boundary_of(content_type: str) -> bytes:
    """What stands between the parts, by the header Content-Type. Raises InputError."""
    kind, _, rest = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        raise InputError(f"the body is '{kind.strip()[:60]}'; a form, multipart/form-data, was expected.")
    boundary = _parameters(f";{rest}").get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise InputError(f"the form's boundary is '{boundary[:80]}'; 1 to 70 plain characters were expected.")
    return boundary.encode("ascii")


def parts(body: bytes, content_type: str) -> list[Part]:
    """The parts of a form, in its order. Raises InputError for one that is not well formed."""
    mark = b"--" + boundary_of(content_type)
    # the first mark begins the body, or ends a line of it; what stands before is to be passed over
    pieces = (b"\r\n" + body).split(b"\r\n" + mark, PARTS + 2)
    if len(pieces) > PARTS + 2:
        raise InputError(f"the form has more than {PARTS} parts; send fewer.")
    *middle, last = pieces[1:] or [b""]
    if not last.startswith(b"--"):
        raise InputError("the form does not end with its boundary; it was cut short, or is no form.")
    return [_part(piece) for piece in middle]


def _part(piece: bytes) -> Part:
    line, _, rest = piece.partition(b"\r\n")
    head, blank, content = (b"\r\n" + rest).partition(b"\r\n\r\n")
    if line.strip(b" \t") or not blank or len(head) > _HEAD:
        raise InputError("a part of the form has no headers that could be read.")
    headers = [row.partition(":") for row in head.decode("utf-8", "replace").split("\r\n") if row]
    given = {name.strip().lower(): value.strip() for name, _, value in headers}
    kind, _, rest_of = given.get("content-disposition", "").partition(";")
    told = _parameters(f";{rest_of}")
    if kind.strip().lower() != "form-data" or not told.get("name"):
        raise InputError("a part of the form has no name.")
    if given.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise InputError(f"the part '{told['name'][:80]}' is encoded; send it as it is.")
    return Part(told["name"], content, "filename" in told)


def _parameters(text: str) -> dict[str, str]:
    """Names and values of `; name="value"`, the first of each name."""
    found: dict[str, str] = {}
    for name, quoted, bare in _PARAMETER.findall(text[:_HEAD]):
        found.setdefault(name.lower(), bare or re.sub(r"\\(.)", r"\1", quoted))
    return found
