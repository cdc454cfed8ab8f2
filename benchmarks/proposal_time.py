"""What a proposal of the default strategy costs once it has seen many candidates.

    python benchmarks/proposal_time.py [SEEN]

Random members with made-up measurements are told, then proposals and tells alternate on one thread.
Prints milliseconds of processor time for each proposal, refits included.
"""

import sys
import time

import numpy as np
from threadpoolctl import threadpool_limits

from nas.reward import EFFICIENTNETV2_REWARD
from nas.strategies.protocol import Evaluation
from nas.strategies.registry import DEFAULT_STRATEGY, StrategyInputs, make_strategy
from search_spaces.space_document import load_space

PROPOSALS = 64
SPACES = ("mnasnet", "effnetv2", "tiny")


def evaluated(space: object, genes: np.ndarray, index: int) -> Evaluation:
    """Made-up numbers that follow from the costs."""
    costs = space.costs(genes[None])  # type: ignore[attr-defined]
    noise = 0.02 * float(np.random.default_rng(index).standard_normal())
    values = {
        "accuracy": 0.1 * float(np.log(costs.macs[0])) + noise,
        "step_ms": float(costs.activation_bytes[0]) / 1e6,
        "params": float(costs.params[0]),
    }
    return Evaluation(index=index, genes=genes, digest=str(index), values=values)


def main(seen: int) -> None:
    """Measure and print."""
    threadpool_limits(1)
    print(f"{DEFAULT_STRATEGY}, three objectives, {seen} candidates seen\n")
    print("| space | ms of processor time a proposal |\n|---|---|")
    for name in SPACES:
        space = load_space(name)
        inputs = StrategyInputs(space=space, reward=EFFICIENTNETV2_REWARD, budget=2 * seen)
        strategy = make_strategy(DEFAULT_STRATEGY, inputs)
        for index, genes in enumerate(space.sample(np.random.default_rng(0), seen)):
            strategy.tell(evaluated(space, genes, index))
        strategy.ask(np.random.default_rng(0))
        busy = 0.0
        for index in range(seen, seen + PROPOSALS):
            start = time.process_time()
            genes = strategy.ask(np.random.default_rng(index))
            busy += time.process_time() - start
            strategy.tell(evaluated(space, genes, index))
        print(f"| {name} | {1e3 * busy / PROPOSALS:.1f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
