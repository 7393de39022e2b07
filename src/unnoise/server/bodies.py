"""Bodies of requests: JSON objects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

from unnoise.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request


async def fields(request: Request) -> dict[str, object]:
    """The JSON object that is the body. Raises InputError."""
    try:
        found = json.loads(await request.body(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
        raise InputError(f"the body is not JSON ({reason}); send an object.") from error
    if not isinstance(found, dict):
        raise InputError("the body is JSON, but no object; send an object with fields.")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
