"""What the configurations of networks have in common: plain values and back, and checks of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from unnoise.errors import InputError
from unnoise.limits import Declared

Own = TypeVar("Own", bound="Settings")


@dataclass(frozen=True)
class Settings(Declared):
    """A configuration. kind: what it is of, for messages."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON or TOML."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls: type[Own], values: Mapping[str, Any]) -> Own:
        """The inverse of `to_dict`. Raises InputError for a field that does not exist."""
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise InputError(f"'{name}' is not a setting of {cls.kind}; these are {', '.join(known)}.")
        return cls(**values)

    def check_multiples(self, name: str, of: str) -> None:
        """Raises InputError where this field does not hold one or more multiples of the other."""
        values, divisor = getattr(self, name), getattr(self, of)
        if not values or any(value % divisor for value in values):
            raise InputError(
                f"{name} is {values!r} and {of} {divisor}; give a multiple of {of} for each level, for example "
                f"({divisor}, {2 * divisor})."
            )
