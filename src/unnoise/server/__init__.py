"""Pictures over HTTP: a queue that outlives the process, a worker that computes, an API and a page to watch it by.

Two processes. The front answers requests and never imports torch, so it answers while networks compute and outlives
them; the worker, its child, holds one model and makes one job at a time. `Desk` joins the two.
"""

from unnoise.server.asked import Asked
from unnoise.server.card import Card
from unnoise.server.desk import Desk
from unnoise.server.job import Event, Job, Made, Problem, Seen
from unnoise.server.limits import Limits
from unnoise.server.refusals import Closing, FieldError, Full, Loading, Unknown
from unnoise.server.settings import Settings

__all__ = [
    "Asked",
    "Card",
    "Closing",
    "Desk",
    "Event",
    "FieldError",
    "Full",
    "Job",
    "Limits",
    "Loading",
    "Made",
    "Problem",
    "Seen",
    "Settings",
    "Unknown",
]
