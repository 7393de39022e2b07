"""Connections that ask nothing: uvicorn waits for the first request of one, and for all of its headers, without end."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

_SILENCE = 20.0
"""Seconds until a connection is looked at again: who has asked nothing from one look to the next is cut."""


class Connection(H11Protocol):
    """One that is cut where it asks nothing, so that strangers who are silent, or slow, cannot take all places."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look."""
        super().connection_made(transport)
        self._look(answered=self)

    def _look(self, answered: object) -> None:
        """answered: the last request where that was answered at the last look, and has been the last since."""
        idle = self.cycle is None or self.cycle.response_complete
        if (idle and answered is self.cycle) or self.transport.is_closing():
            self.transport.close()
            return
        self.loop.call_later(_SILENCE, self._look, self.cycle if idle else self)
