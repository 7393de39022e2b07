import asyncio
from dataclasses import replace
from itertools import pairwise

from unnoise.server import Asked, Event, Job, Seen
from unnoise.server.past import Past
from unnoise.server.readers import Reader


def step(id, index, look=100_000):
    previews = {"x0": bytes(look)} if look else {}
    return Event(
        "step", Job(id, Asked(), "running", step=index), Seen(index, 100, 1.0, 0.5, 0.0, 0.1, previews)
    )


def test_steps_are_told_as_they_were_and_those_of_the_oldest_job_go_first():
    past = Past(most=1_000_000)
    steps = {id: [step(id, index) for index in range(1, 5)] for id in "abc"}
    for id in "abc":
        for each in steps[id]:
            past.keep(each)
    assert past.of("a") == ()
    assert [past.of(id) for id in "bc"] == [tuple(steps[id]) for id in "bc"]
    past.forget("b")
    assert past.of("b") == ()
    past.keep(step("a", 1))
    assert past.of("c") == tuple(steps["c"])


def test_of_many_short_jobs_the_last_hundred_are_kept_as_each_holds_its_prompts():
    past = Past()
    for place in range(300):
        past.keep(step(f"{place}", 1, look=0))
    assert [place for place in range(300) if past.of(f"{place}")] == list(range(200, 300))


def test_a_reader_that_is_busy_misses_steps_without_looks_before_those_with_them():
    async def go():
        reader = Reader()
        for index in range(1, 101):
            reader.tell(step("a", index, look=10 if index % 20 == 0 else 0))
        reader.tell(Event("done", Job("a", Asked(), "done")))
        return [event.seen.index if event.seen else event.name async for event in reader]

    told = asyncio.run(go())
    assert told == [20, 40, 60, 80, 97, 98, 99, 100, "done"]


def test_a_long_job_alone_keeps_all_steps_and_looks_that_are_spread_over_them():
    past = Past(most=1_000_000)
    steps = [step("a", index, look=0 if index % 3 else 50_000) for index in range(1, 301)]
    for each in steps:
        past.keep(each)
    kept = past.of("a")
    assert [replace(each, seen=replace(each.seen, previews={})) for each in kept] == [
        replace(each, seen=replace(each.seen, previews={})) for each in steps
    ]
    looks = [each.seen.index for each in kept if each.seen.previews]
    assert 50_000 * len(looks) <= 1_000_000
    assert (looks[0], looks[-1]) == (3, 300)
    apart = [after - before for before, after in pairwise(looks)]
    assert (
        max(apart) <= 300 / len(looks) * 2
    )  # evenly spread: none is further away than twice what it must be
