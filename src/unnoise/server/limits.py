"""How much one request, one client and the queue may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from unnoise.server.card import Card


@dataclass(frozen=True)
class Limits:
    """Bounds that are looked at before anything is computed.

    body, body_with_pictures: bytes of a request. prompt: characters. steps, count: of one job. side_low, side_high:
    pixels of a picture's width and height. work: pixels times steps times pictures of one job. queue: jobs that wait,
    of them each_client of one client.
    """

    body: int = 1_000_000
    body_with_pictures: int = 12_000_000
    prompt: int = 10_000
    steps: int = 1000
    count: int = 16
    side_low: int = 64
    side_high: int = 2048
    work: int = 4 * 10**9
    queue: int = 64
    each_client: int = 8

    def lowest_side(self, card: Card) -> int:
        """The least width and height that are asked of a model: a unit of one whose own pictures are smaller."""
        return card.unit if min(card.width, card.height) < self.side_low else self.side_low

    def too_much(self, work: int) -> str:
        """The sentence for a job of more work than is taken."""
        return (
            f"this is {work:,} pixels x steps x count, and {self.work:,} are taken; ask for fewer steps, fewer "
            "pictures or smaller ones."
        )
