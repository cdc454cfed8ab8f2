"""The fault campaign on a small scale, and for every part a control: the broken way, which it must see."""

import random
from pathlib import Path

import campaign
import hostile_documents
import power_cut
import pytest

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


def require_power_cuts(part: str) -> None:
    reason = power_cut.why_not()
    if part == "power cuts" and reason is not None:
        pytest.skip(f"no power cuts here: {reason}")


@pytest.mark.parametrize("part", SMALL)
def test_each_part_on_a_small_scale(part: str, tmp_path: Path) -> None:
    require_power_cuts(part)
    print(f"seed {SEED}")
    function, _ = campaign.PARTS[part]
    thinned = {"thin": 6} if part == "hostile documents" else {}
    assert function(tmp_path, random.Random(SEED), SMALL[part], **thinned)


@pytest.mark.parametrize("part", CONTROLS)
def test_each_part_sees_the_broken_way(part: str, tmp_path: Path) -> None:
    require_power_cuts(part)
    function, _ = campaign.PARTS[part]
    broken, count, says = CONTROLS[part]
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
