"""A1111's API over the desk: what clients of its web UI send and expect."""

from unnoise.server.a1111.routes import routes

__all__ = ["routes"]
