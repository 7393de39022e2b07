"""The names people know, each resolved to its parts; and other programs' values by the same names."""

from unnoise.schedulers.names.lookup import from_config, get, grid_names, table
from unnoise.schedulers.names.programs import PROGRAMS
from unnoise.schedulers.names.rows import Named
from unnoise.schedulers.presets.config import Resolved

__all__ = ["PROGRAMS", "Named", "Resolved", "from_config", "get", "grid_names", "table"]
