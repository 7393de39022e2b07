"""Stable Diffusion on a graphics card: agreement with diffusers, speed, memory, and what the time goes to.

    python benchmarks/gpu.py --seconds 420 --json gpu.json
    python benchmarks/gpu.py --device cpu --size miniature --calls 2    # the same code, anywhere

Reads and downloads nothing: networks are made on the device with random weights, ours and then diffusers' with
the same numbers under its own names. A cell that fails prints its traceback and costs the others nothing.
"""

from __future__ import annotations

import argparse
import gc
import json
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import diffusers
import torch
from full_size.models import BETAS, MODELS
from full_size.pairs import Bench, Row, line
from torch import Tensor

from unnoise.checkpoints import Model
from unnoise.pipelines import TextToImage
from unnoise.process import DiscreteVP
from unnoise.text import Tokenizer

HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
BOUND = 1e-5
"""Largest difference over the largest number, in float32."""


def parity(bench: Bench, name: str) -> None:
    """In float32, TF32 off; the error of each against diffusers in float64 too."""
    cell, side = f"parity {name}", bench.side(64)
    if name == "text":
        pair = bench.pair("text", torch.float32)
        tokens = torch.randint(0, 49406, (2, 77), generator=torch.Generator().manual_seed(0))
        tokens = tokens.to(bench.device)
        ours, theirs = (lambda: pair.ours(tokens).hidden), (lambda: pair.theirs(tokens).last_hidden_state)
    else:
        ours, theirs, pair = bench.work(name, side, torch.float32)
    found, expected = ours(), theirs()
    bench.note(Row(cell, "float32", "ours - diffusers", apart=_apart(found, expected)))
    if name == "text":
        pair.theirs.double()
        exact = theirs()
    else:
        exact = bench.work(name, side, torch.float64)[1]()
    bench.note(Row(cell, "float32", "ours - float64", apart=_apart(found, exact)))
    bench.note(Row(cell, "float32", "diffusers - float64", apart=_apart(expected, exact)))
    pair.to(torch.float32)


def eager(bench: Bench, name: str, side: int, dtype: torch.dtype) -> None:
    ours, theirs, pair = bench.work(name, bench.side(side), dtype)
    cell, expected = f"{name} {side}x{side}", theirs()
    bench.timed(cell, dtype, "ours", ours, expected)
    bench.timed(cell, dtype, "diffusers", theirs, None)
    pair.theirs.to(memory_format=torch.channels_last)
    bench.timed(cell, dtype, "diffusers channels-last", theirs, expected)
    bench.timed(cell, dtype, "ours again", ours, expected)  # how far two rows of one thing are apart


def compiled(bench: Bench, name: str, side: int, dtype: torch.dtype, mode: str = "default") -> None:
    _, theirs, pair = bench.work(name, bench.side(side), dtype)
    cell, expected = f"{name} {side}x{side}", theirs()
    pair.theirs.to(memory_format=torch.channels_last)
    for who in ("ours", "diffusers"):
        torch.compiler.reset()
        torch._dynamo.utils.counters.clear()
        method = "decode" if name == "vae" else "forward"
        network = getattr(pair, who if who == "ours" else "theirs")
        setattr(network, method, torch.compile(getattr(network, method), mode=mode, dynamic=False))
        try:
            call = bench.work(name, bench.side(side), dtype)[who == "diffusers"]
            if who == "diffusers":
                network.to(memory_format=torch.channels_last)
            bench.timed(cell, dtype, f"{who} compiled, {mode}", call, expected)
            print(f"  graph breaks: {dict(torch._dynamo.utils.counters['graph_break'])}", flush=True)
        except Exception:
            traceback.print_exc()
        finally:
            delattr(network, method)


def captured(bench: Bench, name: str, side: int, dtype: torch.dtype) -> None:
    """Both sides' launches recorded once, as a CUDA graph, and sent again: what a step takes without the host."""
    for who, call in zip(("ours", "diffusers"), bench.work(name, bench.side(side), dtype)[:2], strict=True):
        expected = call()
        again = call if bench.device.type != "cuda" else _recorded(call)
        bench.timed(f"{name} {side}x{side}", dtype, f"{who} captured", again, expected)


def _recorded(call: Callable[[], Tensor]) -> Callable[[], Tensor]:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()  # libraries set themselves up at a first call, which no graph may hold
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = call()

    def again() -> Tensor:
        graph.replay()
        return out

    return again


def picture(bench: Bench, steps: int, dtype: torch.dtype) -> None:
    """A whole picture by DDIM from the same noise, text encoder and decoder included."""
    unet, vae, text = (bench.pair(name, dtype) for name in ("sd1", "vae", "text"))
    side, words = bench.made["sd1"].side, Tokenizer()
    schedule = DiscreteVP.scaled_linear()
    parts = {"text_encoder": text.ours, "tokenizer": words, "autoencoder": vae.ours}
    ours = TextToImage(Model(unet.ours, schedule, (4, side, side), **parts))
    noise, prompt, negative = bench.noise(1, 4, side, side).cpu(), "a red apple on a wooden table", "blurry"
    told = {"steps": steps, "guidance": 7.5, "scheduler": "DDIM", "compat": "diffusers", "latents": noise}
    rule = diffusers.DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    parts = dict.fromkeys(("safety_checker", "feature_extractor", "tokenizer")) | {
        "text_encoder": text.theirs
    }
    theirs = diffusers.StableDiffusionPipeline(
        vae=vae.theirs, unet=unet.theirs, scheduler=rule, requires_safety_checker=False, **parts
    )
    theirs.set_progress_bar_config(disable=True)
    ids = words([negative, prompt], length=77).ids.to(bench.device)

    def their_picture() -> Tensor:
        without, given = text.theirs(ids).last_hidden_state.chunk(2)
        more = {"guidance_scale": 7.5, "num_inference_steps": steps, "latents": noise.to(bench.device, dtype)}
        made = theirs(prompt_embeds=given, negative_prompt_embeds=without, output_type="np", **more)
        return torch.from_numpy(made.images[0])

    def our_picture() -> Tensor:
        return torch.as_tensor(ours(prompt, negative=negative, **told).arrays[0])

    calls, bench.calls = bench.calls, 3
    expected = their_picture()
    bench.timed(f"picture, {steps} steps", dtype, "ours", our_picture, expected)
    bench.timed(f"picture, {steps} steps", dtype, "diffusers", their_picture, None)
    bench.calls = calls


def profile(bench: Bench, name: str, side: int, dtype: torch.dtype) -> None:
    """The kernels that take most of one call."""
    from torch.profiler import ProfilerActivity

    cuda = bench.device.type == "cuda"
    for who, call in zip(("ours", "diffusers"), bench.work(name, bench.side(side), dtype)[:2], strict=True):
        call()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        with torch.profiler.profile(activities=activities) as seen:
            call()
            if cuda:
                torch.cuda.synchronize()
        averages = seen.key_averages()
        time_of = "self_device_time_total" if cuda else "self_cpu_time_total"
        on = [each for each in averages if not cuda or "CUDA" in str(each.device_type)]
        total = sum(getattr(each, time_of) for each in on)
        print(f"  {who}: {sum(each.count for each in on)} kernels, {total / 1e3:.2f} ms in them", flush=True)
        for each in sorted(on, key=lambda one: -getattr(one, time_of))[:12]:
            print(f"  {getattr(each, time_of) / 1e3:8.3f} ms {each.count:5d} x  {each.key[:110]}", flush=True)


def cells() -> Iterator[tuple[str, int, Callable[[Bench], None]]]:
    """Name, limit in seconds, and what it does, in the order of what they cost."""
    for name in ("sd1", "vae", "text", "sdxl"):
        yield f"parity-{name}", 60, lambda bench, name=name: parity(bench, name)
    works = ("sd1", 64), ("vae", 64), ("vae", 128), ("sdxl", 128)
    for word, dtype in HALVES.items():
        for name, side in works:
            yield f"eager-{name}-{side}-{word}", 40, lambda b, n=name, s=side, d=dtype: eager(b, n, s, d)
        if word == "float16":
            for name, side in works[:2]:
                yield f"profile-{name}", 40, lambda b, n=name, s=side, d=dtype: profile(b, n, s, d)
            for name, side in works:
                yield f"captured-{name}-{side}", 40, lambda b, n=name, s=side, d=dtype: captured(b, n, s, d)
        yield f"picture-{word}", 60, lambda b, d=dtype: picture(b, 20, d)
    for name, side in works:
        yield f"compiled-{name}-{side}", 150, lambda b, n=name, s=side: compiled(b, n, s, torch.float16)
    yield "graphs-sd1", 120, lambda b: compiled(b, "sd1", 64, torch.float16, mode="reduce-overhead")


def _apart(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


class Over(BaseException):
    """A cell's time is up; no Exception, for compilers catch those."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raises Over inside when they are over."""

    def over(*_: object) -> None:
        raise Over(f"over its {seconds:.0f} seconds")

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=MODELS, default="full")
    parser.add_argument("--calls", type=int, default=20, help="timed calls of each side")
    parser.add_argument("--seconds", type=float, default=540, help="no cell goes on after so many")
    parser.add_argument("--only", nargs="+", default=[""], metavar="CELL", help="beginnings of cells' names")
    parser.add_argument("--json", help="write all figures to this file as well")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' warnings of their own internals
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    diffusers.utils.logging.set_verbosity_error()
    bench, began = Bench(args), time.perf_counter()
    card = torch.cuda.get_device_name() if args.device.startswith("cuda") else "processor"
    versions = {"torch": torch.__version__, "diffusers": diffusers.__version__, "device": card}
    print(versions, flush=True)
    for name, limit, cell in cells():
        left = args.seconds - (time.perf_counter() - began)
        if left <= 0 or not name.startswith(tuple(args.only)):
            continue
        print(f"{name}, {left:.0f} s left", flush=True)
        since = time.perf_counter()
        try:
            with limited(min(limit, left)), torch.no_grad():
                cell(bench)
        except (Exception, Over):  # one cell that fails must not cost the others
            traceback.print_exc()
        gc.collect()
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
        print(f"  {time.perf_counter() - since:.1f} s in all", flush=True)
    report(bench.rows, versions, args.json)


def report(rows: list[Row], versions: dict[str, str], file: str | None) -> None:
    print("\n| work | dtype | side | ms | MB beyond weights | apart |\n|---|---|---|---:|---:|---:|")
    print("\n".join(map(line, rows)))
    worst = max((row.apart for row in rows if row.side == "ours - diffusers"), default=None)
    if worst is not None:
        print(f"\nfloat32: worst {worst:.1e}, bound {BOUND:.0e}: {'kept' if worst <= BOUND else 'NOT kept'}")
    text = json.dumps({**versions, "rows": [asdict(row) for row in rows]})
    print(text, flush=True)
    if file:
        Path(file).write_text(text + "\n")


if __name__ == "__main__":
    main()
