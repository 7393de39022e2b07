"""Refusals and failures in the words of the program whose API a client speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from unnoise.server.job import Job, Problem
from unnoise.server.refusals import FieldError


def in_their_words(error: FieldError, theirs: Mapping[str, str]) -> FieldError:
    """The refusal under their name of the field, in its message too where that begins with ours.

    theirs: our field -> their name.
    """
    name, message = theirs.get(error.field, error.field), str(error)
    if message.startswith(f"{error.field} "):
        message = name + message.removeprefix(error.field)
    return type(error)(name, message)


def failure(job: Job, theirs: Mapping[str, str]) -> Problem:
    """Why a job failed, likewise."""
    problem = job.problem or Problem("failed", "the job failed.")
    if problem.field is None:
        return problem
    told = in_their_words(FieldError(problem.field, problem.message), theirs)
    return replace(problem, message=str(told), field=told.field)
