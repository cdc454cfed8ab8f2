"""Laws of the mailbox: each job ends in exactly one outcome, whoever is lost."""

import asyncio
import random
from collections import Counter

import pytest

from nas.executors.mailbox import Letter, Mailbox
from proxies.records import Outcome, TrainJob


def job(seed: int) -> TrainJob:
    return TrainJob(digest="d", architecture={}, task_fingerprint="t", seed=seed)


def outcome(of: TrainJob) -> Letter:
    told = Outcome(key=of.key, kind="train", digest="d", status="ok")
    return Letter("stored", told.model_dump_json())


async def put(mailbox: Mailbox, *jobs: TrainJob) -> None:
    for each in jobs:
        await mailbox.put(each.key, each.model_dump_json())


async def outcomes(mailbox: Mailbox) -> list[Outcome]:
    return [Outcome.model_validate_json(letter.body) for letter in await mailbox.collect(0.0)]


def test_jobs_are_taken_in_order_and_no_more_than_there_are_workers() -> None:
    async def scenario() -> None:
        mailbox = Mailbox(2)
        await put(mailbox, job(0), job(1), job(2))
        assert await mailbox.take("a", 0.0) == job(0).model_dump_json()
        assert await mailbox.take("b", 0.0) == job(1).model_dump_json()
        assert await mailbox.take("c", 0.0) is None
        await mailbox.exchange("a", [outcome(job(0))])
        assert await mailbox.take("c", 0.0) == job(2).model_dump_json()

    asyncio.run(scenario())


def test_whoever_waits_is_woken() -> None:
    async def scenario() -> None:
        mailbox = Mailbox(1)
        taking = asyncio.create_task(mailbox.take("a", 60.0))
        collecting = asyncio.create_task(mailbox.collect(60.0))
        await asyncio.sleep(0)
        await put(mailbox, job(0))
        assert await taking == job(0).model_dump_json()
        await mailbox.exchange("a", [outcome(job(0))])
        assert await collecting == [outcome(job(0))]

    asyncio.run(scenario())


def test_a_lost_job_is_run_once_more_and_then_blamed() -> None:
    async def scenario() -> None:
        mailbox = Mailbox(1)
        await put(mailbox, job(0), job(1))
        await mailbox.take("a", 0.0)
        await mailbox.lose("a")
        assert await mailbox.take("b", 0.0) == job(0).model_dump_json()
        await mailbox.lose("b")
        (failed,) = await outcomes(mailbox)
        assert (failed.key, failed.status) == (job(0).key, "error")
        assert failed.reason == "the Ray worker that ran it was lost, twice"
        assert await mailbox.take("c", 0.0) == job(1).model_dump_json()

    asyncio.run(scenario())


def test_only_the_worker_that_holds_a_job_may_answer_it() -> None:
    async def scenario() -> None:
        mailbox = Mailbox(1)
        await put(mailbox, job(0))
        await mailbox.take("a", 0.0)
        await mailbox.lose("a")
        await mailbox.take("b", 0.0)
        await mailbox.exchange("a", [outcome(job(0))])
        assert await mailbox.collect(0.0) == []
        await mailbox.exchange("b", [outcome(job(0))])
        await mailbox.exchange("b", [outcome(job(0))])
        assert len(await mailbox.collect(0.0)) == 1

    asyncio.run(scenario())


def test_a_stop_reaches_the_queue_the_holder_and_nobody_else() -> None:
    async def scenario() -> None:
        mailbox = Mailbox(2)
        await put(mailbox, job(0), job(1), job(2))
        await mailbox.take("a", 0.0)
        await mailbox.take("b", 0.0)
        for key in (job(0).key, job(2).key, "unknown"):
            await mailbox.stop(key)
        assert [(each.key, each.status) for each in await outcomes(mailbox)] == [(job(2).key, "stopped")]
        assert await mailbox.exchange("a", []) == [(job(0).key, "stop")]
        assert await mailbox.exchange("b", []) == []
        assert await mailbox.exchange("stranger", []) == []

    asyncio.run(scenario())


def test_word_to_go_on_is_heard_once_and_never_takes_back_a_stop() -> None:
    async def scenario() -> None:
        mailbox = Mailbox(1)
        await put(mailbox, job(0))
        await mailbox.go_on(job(0).key)  # nobody has it yet
        await mailbox.take("a", 0.0)
        assert await mailbox.exchange("a", []) == []
        await mailbox.go_on(job(0).key)
        assert await mailbox.exchange("a", []) == [(job(0).key, "go")]
        assert await mailbox.exchange("a", []) == []
        await mailbox.stop(job(0).key)
        await mailbox.go_on(job(0).key)
        assert await mailbox.exchange("a", []) == [(job(0).key, "stop")]

    asyncio.run(scenario())


def test_a_broken_worker_is_heard_though_it_holds_nothing() -> None:
    async def scenario() -> None:
        mailbox = Mailbox(1)
        await mailbox.exchange("a", [Letter("broken", "no torch")])
        assert await mailbox.collect(0.0) == [Letter("broken", "no torch")]

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(20))
def test_every_job_ends_once_through_any_losses_stops_and_delays(seed: int) -> None:
    rng = random.Random(seed)

    async def scenario() -> None:
        mailbox = Mailbox(3)
        jobs = [job(number) for number in range(12)]
        await put(mailbox, *jobs)
        ended: Counter[str] = Counter()
        held: dict[str, TrainJob] = {}
        trials = iter(range(1000))
        while sum(ended.values()) < len(jobs):
            trial = f"trial-{next(trials)}"
            taken = await mailbox.take(trial, 0.0)
            if taken is not None:
                held[trial] = TrainJob.model_validate_json(taken)
            if held and rng.random() < 0.6:
                trial = rng.choice(list(held))
                if rng.random() < 0.4:
                    await mailbox.lose(trial)
                    if rng.random() < 0.5:  # a straggler still talks
                        await mailbox.exchange(trial, [outcome(held[trial])])
                else:
                    await mailbox.exchange(trial, [Letter("partial", "{}"), outcome(held[trial])])
                del held[trial]
            if rng.random() < 0.1:
                await mailbox.stop(rng.choice(jobs).key)
            for letter in await mailbox.collect(0.0):
                if letter.word != "partial":
                    ended[Outcome.model_validate_json(letter.body).key] += 1
        assert ended == Counter(each.key for each in jobs)

    asyncio.run(scenario())
