"""What the configurations of networks have in common: plain values and back, and checks of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from unnoise.errors import InputError
from unnoise.limits import choice, whole

Own = TypeVar("Own", bound="Settings")


@dataclass(frozen=True)
class Settings:
    """A configuration. kind: what it is of, for messages. Lists are taken as the tuples that they are kept as."""

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(value))

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

    def check_counts(self, *names: str, least: int = 1) -> None:
        """Raises InputError where one of these fields is, or holds, other things than whole numbers from `least` up."""
        for name in names:
            value = getattr(self, name)
            found = [whole(name, each, least) for each in (value if isinstance(value, tuple) else (value,))]
            object.__setattr__(self, name, tuple(found) if isinstance(value, tuple) else found[0])

    def check_choice(self, name: str, known: Sequence[str]) -> None:
        """Raises InputError where this field is none of the known words."""
        choice(name, getattr(self, name), known)

    def check_multiples(self, name: str, of: str) -> None:
        """Raises InputError where this field is no tuple of one or more multiples of the other."""
        values, divisor = getattr(self, name), getattr(self, of)
        if not isinstance(values, tuple) or not values or any(value % divisor for value in values):
            raise InputError(
                f"{name} is {values!r} and {of} {divisor}; give a multiple of {of} for each level, for example "
                f"({divisor}, {2 * divisor})."
            )
