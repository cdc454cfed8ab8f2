"""Laws that every strategy obeys, whatever it is."""

from dataclasses import replace

import numpy as np
import pytest

from nas.objectives import parse_bounds
from nas.reward import EFFICIENTNETV2_REWARD
from nas.strategies.protocol import Evaluation, Strategy
from nas.strategies.registry import STRATEGIES, StrategyInputs, make_strategy
from search_spaces.choice import int_range, one_of
from search_spaces.limits import InfeasibleError
from search_spaces.space import Genes, Space
from search_spaces.space_document import load_space, space

pytestmark = pytest.mark.parametrize("name", sorted(STRATEGIES))

BLOCKS = one_of(
    {"op": "fused_mbconv", "expand": one_of(1, 2)},
    {"op": "mbconv", "expand": one_of(1, 2), "kernel": one_of(3, 5)},
)


def a_space(**changes: object) -> Space:
    stages = [
        {"stride": 2, "depth": int_range(1, 2), "width": one_of(8, 16), "block": BLOCKS},
        {"stride": 1, "depth": int_range(0, 2), "width": one_of(24, 32), "block": BLOCKS},
    ]
    return space({"name": "s", "stem": {"width": 8}, "stages": stages, "head": {"width": 32}, **changes})


SPACES = {
    "free": a_space(),
    "limited": a_space(limits={"params": {"max": 60_000}}),
    "ruled": a_space(rules=[{"monotone": "block.op", "order": ["fused_mbconv", "mbconv"]}]),
    "tiny": load_space("tiny"),
}


def enough(name: str, count: int = 40) -> int:
    """How many proposals to look at: few of what takes long once it models, some after it has begun to."""
    return min(count, {"gp": 12, "surrogate": 24}.get(name, count))


def made(name: str, searched: Space, *, budget: int = 30, seeds: tuple[Genes, ...] = ()) -> Strategy:
    inputs = StrategyInputs(space=searched, reward=EFFICIENTNETV2_REWARD, budget=budget, seeds=seeds)
    return make_strategy(name, inputs)


def evaluation(searched: Space, genes: Genes, index: int, *, fails: bool = False) -> Evaluation:
    arch = searched.decode(genes)
    params = float(searched.costs(genes[None]).params[0])
    values = (
        {} if fails else {"accuracy": 0.5 + 0.4 * (index % 7) / 7, "step_ms": 1.0 + index, "params": params}
    )
    return Evaluation(index=index, genes=searched.encode(arch), digest=arch.digest, values=values)


def proposals(
    strategy: Strategy, searched: Space, count: int, *, batch: int = 1, fails: bool = False
) -> list[Genes]:
    """Ask in batches and tell each batch in order."""
    asked: list[Genes] = []
    for start in range(0, count, batch):
        drawn = [strategy.ask(np.random.default_rng([7, start + i])) for i in range(batch)]
        for offset, genes in enumerate(drawn):
            strategy.tell(evaluation(searched, genes, start + offset, fails=fails))
        asked += drawn
    return asked


@pytest.mark.parametrize("kind", sorted(SPACES))
@pytest.mark.parametrize("batch", [1, 8])
def test_every_proposal_is_a_member(name: str, kind: str, batch: int) -> None:
    searched = SPACES[kind]
    for genes in proposals(made(name, searched), searched, enough(name), batch=batch):
        assert searched.explain(searched.decode(genes)) is None


def test_the_same_history_gives_the_same_proposals(name: str) -> None:
    searched = SPACES["tiny"]
    first, second = (proposals(made(name, searched), searched, enough(name)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_failures_alone_do_not_stop_it(name: str) -> None:
    searched = SPACES["free"]
    assert len(proposals(made(name, searched), searched, 40, fails=True)) == 40


def test_a_resumed_search_goes_on_alike(name: str) -> None:
    """Law: with eight on their way, what is told decides; asking before does not."""
    searched = SPACES["tiny"]
    told = [
        evaluation(searched, genes, i)
        for i, genes in enumerate(searched.sample(np.random.default_rng(3), 30))
    ]

    def last(*, asks_between: bool) -> list[Genes]:
        strategy = made(name, searched)
        for index, each in enumerate(told):
            if asks_between and index < enough(name):
                strategy.ask(np.random.default_rng([7, index]))
            strategy.tell(each)
        return [strategy.ask(np.random.default_rng([7, 99]))]

    uninterrupted, resumed = last(asks_between=True), last(asks_between=False)
    assert all(np.array_equal(a, b) for a, b in zip(uninterrupted, resumed, strict=True))


def test_a_space_of_one_point_is_proposed_again(name: str) -> None:
    searched = a_space(
        stages=[{"stride": 2, "depth": 1, "width": 8, "block": {"op": "mbconv", "expand": one_of(2)}}]
    )
    asked = proposals(made(name, searched), searched, 12)
    assert {searched.decode(genes).digest for genes in asked} == {searched.decode(asked[0]).digest}


def test_an_infeasible_space_says_so(name: str) -> None:
    strategy = made(name, a_space(limits={"params": {"max": 10}}))
    with pytest.raises(InfeasibleError, match=r"0 of [\d,]+ sampled members of s are within the limits"):
        strategy.ask(np.random.default_rng(0))


def test_it_neither_changes_nor_keeps_what_it_is_told(name: str) -> None:
    searched = SPACES["free"]
    strategy = made(name, searched)
    genes = searched.sample(np.random.default_rng(0))
    told = evaluation(searched, genes, 0)
    before = told.genes.copy()
    strategy.tell(told)
    for index in range(30):
        strategy.ask(np.random.default_rng(index))[:] = -5
    assert np.array_equal(told.genes, before)
    for genes in proposals(strategy, searched, 10):
        assert searched.explain(searched.decode(genes)) is None


ENDINGS = ("complete", "refused", "gated", "predicted", "stopped", "failed")


def ended(searched: Space, genes: Genes, index: int) -> Evaluation:
    """One of each ending in turn, with what is known of it then."""
    whole, ending = evaluation(searched, genes, index), ENDINGS[index % len(ENDINGS)]
    kept = {name: value for name, value in whole.values.items() if name != "accuracy"}
    untimed = {name: value for name, value in whole.values.items() if name != "step_ms"}
    values = {"complete": whole.values, "failed": {}, "predicted": untimed}.get(ending, kept)
    curve = {1: 0.3, 2: 0.5} if ending == "complete" else {1: 0.2} if ending == "stopped" else {}
    return replace(whole, genes=whole.genes, values=values, ending=ending, curve=curve)


def test_every_ending_is_borne_and_measured_limits_are_heard(name: str) -> None:
    """Law: proposals stay members, and follow from the history, whatever ended how."""
    searched = SPACES["tiny"]
    inputs = StrategyInputs(
        space=searched,
        reward=EFFICIENTNETV2_REWARD,
        budget=30,
        bounds=parse_bounds(["step_ms<=20"]),
    )

    def asked() -> list[Genes]:
        strategy, found = make_strategy(name, inputs), []
        for index in range(enough(name, 18)):
            genes = strategy.ask(np.random.default_rng([3, index]))
            assert searched.explain(searched.decode(genes)) is None
            found.append(genes)
            strategy.tell(ended(searched, genes, index))
        return found

    assert all(np.array_equal(a, b) for a, b in zip(asked(), asked(), strict=True))


@pytest.mark.parametrize("on_their_way", [1, 4])
def test_seeds_come_first_however_many_are_on_their_way(name: str, on_their_way: int) -> None:
    searched = SPACES["tiny"]
    seeds = tuple(searched.sample(np.random.default_rng(11), 6))
    strategy = made(name, searched, seeds=seeds)
    waiting, known = [], []
    for index in range(7):
        if len(waiting) >= on_their_way:
            strategy.tell(waiting.pop(0))
        genes = strategy.ask(np.random.default_rng(index))
        while genes.tobytes() in known:
            genes = strategy.ask(np.random.default_rng(index))
        known.append(genes.tobytes())
        waiting.append(evaluation(searched, genes, index))
    if name != "random":  # which has no use for them
        assert known[:6] == [seed.tobytes() for seed in seeds]
