"""What the configurations of networks have in common: plain values and back, and whole numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

from unnoise.errors import InputError

Own = TypeVar("Own", bound="Settings")


@dataclass(frozen=True)
class Settings:
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
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

    def check_counts(self, *names: str) -> None:
        """Raises InputError where one of these fields is no whole number of at least 1."""
        for name in names:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}; give a whole number of at least 1.")
