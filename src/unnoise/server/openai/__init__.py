"""OpenAI's Images API over the desk: what its official client sends and expects."""

from unnoise.server.openai.routes import routes

__all__ = ["routes"]
