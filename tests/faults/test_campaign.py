"""The fault campaign on a small scale, and for every part a control: the broken way, which it must see."""

import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import campaign
import hostile_documents
import power_cut
import pytest
from noisy_neighbour import judged
from repeatability import Timed

SEED = random.SystemRandom().randrange(2**32)
SMALL = {
    "ledger kills": 4,
    "power cuts": 2,
    "worker kills": 4,
    "full disk": 30,
    "torn spool": 100,
    "hostile documents": 250,
    "load": 60,
}
CONTROLS = {
    "ledger kills": ({"is_early": True}, 1, "acknowledged outcomes are lost"),
    "power cuts": ({"synchronous": "NORMAL"}, 2, "acknowledged outcomes are lost"),
    "worker kills": ({"forget": True}, 1, "a job has no outcome"),
    "full disk": ({"ignore": True}, 30, "acknowledged outcomes are lost"),
    "torn spool": ({"believe": True}, 1, "something else was read"),
    "load": ({"leak": True}, 60, "descriptors grew"),
}
LONG = {"noisy neighbour": 1}
LONG_CONTROLS = {
    "noisy neighbour": ({"believe": True}, 1, "accepted ratios are not right"),
    "full disk search": ({"forget": True}, 1, "acknowledged outcomes are lost"),
}
NEED_ROOT = {"power cuts", "full disk search"}


def require_power_cuts(part: str) -> None:
    reason = power_cut.why_not()
    if part in NEED_ROOT and reason is not None:
        pytest.skip(f"no {part} here: {reason}")


def some_long(short: Iterable[str], long: Iterable[str]) -> list[Any]:
    return [*short, *(pytest.param(part, marks=pytest.mark.thorough) for part in long)]


@pytest.mark.parametrize("part", some_long(SMALL, LONG))
def test_each_part_on_a_small_scale(part: str, tmp_path: Path) -> None:
    require_power_cuts(part)
    print(f"seed {SEED}")
    function, _ = campaign.PARTS[part]
    thinned = {"thin": 6} if part == "hostile documents" else {}
    assert function(tmp_path, random.Random(SEED), (SMALL | LONG)[part], **thinned)


@pytest.mark.parametrize("part", some_long(CONTROLS, LONG_CONTROLS))
def test_each_part_sees_the_broken_way(part: str, tmp_path: Path) -> None:
    require_power_cuts(part)
    function, _ = campaign.PARTS[part]
    broken, count, says = (CONTROLS | LONG_CONTROLS)[part]
    with pytest.raises(campaign.Wrong, match=says):
        function(tmp_path, random.Random(SEED), count, **broken)


def test_a_reader_that_breaks_or_dawdles_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "internal error" in (hostile_documents.try_document("a: 1", lambda path: {}[path]) or "")
    monkeypatch.setattr(hostile_documents, "MAX_SECONDS", 0.0)
    assert " s" in (hostile_documents.try_document("a: 1", lambda path: sum(range(10**6))) or "")


def test_the_whole_campaign_is_as_large_as_is_claimed() -> None:
    sizes = {name: size for name, (_, size) in campaign.PARTS.items()}
    assert sizes["ledger kills"] + sizes["killed searches"] >= 100
    assert sizes["worker kills"] >= 100
    assert sizes["power cuts"] >= 20
    assert sizes["hostile documents"] + len(list(hostile_documents.written())) >= 5_150


RIGHT = Timed(ratio=1.02, is_accepted=True, seconds=1.0)
REFUSED = Timed(ratio=1.4, is_accepted=False, seconds=1.0, reason="the interval is too wide")


def test_what_is_refused_with_a_reason_may_be_wrong() -> None:
    figures = judged([RIGHT, REFUSED], [replace(RIGHT, ratio=ratio) for ratio in (1.48, 1.5, 1.52)])
    assert (figures["accepted"], figures["refused with a reason"]) == (4, 1)
    assert figures["furthest from the truth"] == "2.0%"
    assert figures["furthest from their median"] == "1.3%"


@pytest.mark.parametrize(
    ("own", "others", "says"),
    [
        ([replace(RIGHT, ratio=1.06)], [], "6.0% of the truth"),
        ([replace(RIGHT, ratio=0.94)], [], "6.0% of the truth"),
        ([], [replace(RIGHT, ratio=ratio) for ratio in (1.0, 1.0, 1.1)], "10.0% of one another"),
        ([replace(REFUSED, reason=None)], [], "refused without a reason"),
    ],
)
def test_a_wrong_ratio_and_an_unexplained_refusal_are_seen(
    own: list[Timed], others: list[Timed], says: str
) -> None:
    with pytest.raises(campaign.Wrong, match=says):
        judged(own, others)
