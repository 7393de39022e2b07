"""Bodies of requests: JSON objects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

from unnoise.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request

_DIGITS = 4_000


async def fields(request: Request) -> dict[str, object]:
    """The JSON object that is the body. Raises InputError."""
    try:
        found = json.loads(await request.body(), parse_constant=_no_number, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is not JSON ({_reason(error)}); send an object.") from error
    if not isinstance(found, dict):
        raise InputError("the body is JSON, but no object; send an object with fields.")
    return found


def _reason(error: ValueError | RecursionError) -> str:
    match error:
        case RecursionError():
            return "nested too deeply"
        case UnicodeDecodeError():
            return "some of its bytes are not UTF-8"
    return str(error)[:120]


def _whole(digits: str) -> int:
    """Python refuses to read more, which takes a time that grows with their square."""
    if len(digits) > _DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits, and {_DIGITS:,} are read")
    return int(digits)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
