"""What is answered to txt2img and img2img: pictures in base64, and `info`, a text that is JSON; and refusals."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response

from unnoise import images
from unnoise.errors import InputError, UnnoiseError
from unnoise.server.a1111.samplers import parted
from unnoise.server.a1111.wanted import THEIRS
from unnoise.server.answers import answer
from unnoise.server.job import Job
from unnoise.server.pictures import base64_of
from unnoise.server.refusals import FieldError, NotNow
from unnoise.server.renamed import failure

if TYPE_CHECKING:
    from unnoise.server.a1111.wanted import Wanted
    from unnoise.server.desk import Desk
    from unnoise.server.job import Made

Table = dict[str, object]

_PICTURES = ("init_images", "mask")
_NOT_FOUND = ("sampler_name", "scheduler", "sd_model_checkpoint")


async def pictures(desk: Desk, job: Job) -> list[bytes]:
    """The files of a job that is over; one that was cancelled, or failed, has none."""
    paths = [desk.picture(made.name) for made in job.images]
    return await asyncio.to_thread(lambda: [path.read_bytes() for path in paths])


async def of_jobs(
    jobs: Sequence[Job], contents: Sequence[bytes], wanted: Wanted, given: Mapping[str, object]
) -> Table:
    """The answer for jobs that are over. contents: the files of their pictures."""
    made = [each for job in jobs for each in job.images]
    shown, texts = await asyncio.to_thread(_told_of, contents)
    return {
        "images": shown if wanted.send else [],
        "parameters": {name: None if name in _PICTURES else value for name, value in given.items()},
        "info": json.dumps(_info(jobs, made, wanted) | {"infotexts": texts}),
    }


def _told_of(contents: Sequence[bytes]) -> tuple[list[str], list[str]]:
    """Pictures in base64, and their infotexts."""
    texts = [images.read_text(Path("picture"), content).get("parameters", "") for content in contents]
    return [base64_of(content) for content in contents], texts


def _info(jobs: Sequence[Job], images: Sequence[Made], wanted: Wanted) -> Table:
    job, asked = jobs[0], jobs[0].asked
    first: Mapping[str, object] = images[0].recipe if images else {}
    seeds = [made.seed for made in images]
    others = [made.recipe["variation_seed"] if made.recipe.get("variation") else -1 for made in images]
    sampler, scheduler = parted(str(first.get("scheduler", "")))
    return {
        "prompt": asked.prompt,
        "all_prompts": [asked.prompt for _ in seeds],
        "negative_prompt": asked.negative,
        "all_negative_prompts": [asked.negative for _ in seeds],
        "seed": seeds[0] if seeds else -1,
        "all_seeds": seeds,
        "subseed": others[0] if others else -1,
        "all_subseeds": others,
        "subseed_strength": first.get("variation", 0),
        "width": images[0].width if images else 0,
        "height": images[0].height if images else 0,
        "sampler_name": sampler,
        "scheduler": scheduler,
        "cfg_scale": first.get("guidance"),
        "steps": first.get("steps"),
        "batch_size": wanted.batch,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": first.get("model"),
        "sd_model_hash": str(first.get("model_hash", ""))[:10],
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": first.get("strength") or None,
        "extra_generation_params": {},
        "index_of_first_image": 0,
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(job.begun or job.created)),
        "clip_skip": first.get("clip_skip") or 1,
        "is_using_inpainting_conditioning": False,
        "version": f"unnoise {first.get('version', '')}".strip(),
        "interrupted": len(jobs) < len(wanted.parts) or jobs[-1].state == "cancelled",
        "job": job.id,
        "notes": list(dict.fromkeys((*wanted.notes, *(note for each in jobs for note in each.notes)))),
    }


def refused(error: UnnoiseError) -> Response:
    """The answer to a request that was not taken."""
    if isinstance(error, InputError):
        field = error.field if isinstance(error, FieldError) else None
        return answer(_told("HTTPException", str(error), field), 404 if field in _NOT_FOUND else 422)
    if isinstance(error, NotNow):
        return answer(_told(type(error).__name__, str(error)), error.status, error.headers)
    return answer(_told("Failed", str(error)), 500)


def failed(job: Job) -> Response:
    """The answer for a job that failed."""
    problem = failure(job, THEIRS)
    kind = "OutOfMemoryError" if problem.code == "out_of_memory" else problem.code
    return answer(_told(kind, problem.message, problem.field), 422 if problem.code == "bad_input" else 500)


def _told(kind: str, message: str, field: str | None = None) -> Table:
    return {"error": kind, "detail": message, "body": field or "", "errors": message}
