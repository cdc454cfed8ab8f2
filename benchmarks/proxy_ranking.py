"""Whether a proxy task tells networks apart: the spread between networks against that between seeds.

    python benchmarks/proxy_ranking.py [--proxy NAME_OR_FILE] [--space tiny] [--networks 20] [--seeds 2]

Trains random members of a space with several seeds each, one thread a training, and prints for accuracy and
for the sum of training losses: the standard deviation between networks (of their means over seeds), that
between seeds (pooled within networks), their ratio, and Kendall's tau between the rankings of two seeds (mean
and least over pairs of seeds). Exits with 1 unless, for accuracy, the ratio is at least 3 and the mean tau at
least 0.6.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from search_spaces.architecture import cost
from search_spaces.space_document import load_space

LEAST_RATIO = 3.0
LEAST_TAU = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How well one metric ranks. Values are standard deviations in the metric's own unit."""

    between_networks: float
    between_seeds: float
    mean_tau: float
    least_tau: float

    @property
    def ratio(self) -> float:
        """Spread between networks over spread between seeds."""
        return self.between_networks / self.between_seeds

    @property
    def is_good(self) -> bool:
        """Whether the claim holds."""
        return self.ratio >= LEAST_RATIO and self.mean_tau >= LEAST_TAU


def rank(values_NS: NDArray[np.float64]) -> Ranking:
    """From one value for each network and seed, (networks, seeds)."""
    taus = [
        float(kendalltau(values_NS[:, one], values_NS[:, two]).statistic)
        for one, two in combinations(range(values_NS.shape[1]), 2)
    ]
    return Ranking(
        between_networks=float(values_NS.mean(1).std(ddof=1)),
        between_seeds=float(np.sqrt(values_NS.var(1, ddof=1).mean())),
        mean_tau=statistics.fmean(taus),
        least_tau=min(taus),
    )


def train(proxy: str, architecture: dict[str, Any], seed: int) -> dict[str, float]:
    """Train once here; the metrics, and CPU seconds (loading the data is in a process's first)."""
    import torch

    from proxies.task import load_task
    from proxies.training import seeded_build
    from search_spaces.document import architecture_from_document

    torch.set_num_threads(1)
    task = load_task(proxy)
    arch = task.reduce(architecture_from_document(architecture))  # type: ignore[attr-defined]
    network = seeded_build(arch, task.num_classes, seed=seed)
    start = time.process_time()
    metrics = task.train(network, lambda *_: "continue", seed=seed, device=torch.device("cpu"))
    return {**metrics, "cpu_seconds": time.process_time() - start}


def main(arguments: Sequence[str]) -> int:
    """Train everything and print the tables."""
    options = _options(arguments)
    space = load_space(options.space)
    genes = space.sample(np.random.default_rng(options.sample_seed), options.networks)
    archs = [space.decode(row) for row in genes]
    jobs = [(arch.to_document(), seed) for arch in archs for seed in range(options.seeds)]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        rows = []
        for row in pool.map(train, [options.proxy] * len(jobs), *zip(*jobs, strict=True)):
            rows.append(row)
            print(f"\r{len(rows)} of {len(jobs)} trained", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)

    def table(metric: str) -> NDArray[np.float64]:
        return np.array([row[metric] for row in rows]).reshape(options.networks, options.seeds)

    accuracies = table("accuracy")
    print(f"proxy {options.proxy}, {options.networks} members of {options.space}, {options.seeds} seeds")
    print(f"{_processor()}, Python {platform.python_version()}, torch {_torch_version()}, one thread each")
    print("| network | parameters | MACs | CPU s | accuracy by seed |\n|---|---|---|---|---|")
    for arch, seconds, accuracy in sorted(
        zip(archs, table("cpu_seconds"), accuracies, strict=True), key=lambda row: row[2].mean()
    ):
        paid = cost(arch, 32, 10)
        shown = " ".join(f"{value:.3f}" for value in accuracy)
        print(f"| {arch.digest[:8]} | {paid.params:,} | {paid.macs:,} | {seconds.mean():.1f} | {shown} |")
    print(
        "\n| metric | between networks | between seeds | ratio | Kendall tau (least) |\n|---|---|---|---|---|"
    )
    for metric in ("accuracy", "train_loss_sum"):
        found = rank(table(metric))
        print(
            f"| {metric} | {found.between_networks:.4f} | {found.between_seeds:.4f} | {found.ratio:.2f} "
            f"| {found.mean_tau:.2f} ({found.least_tau:.2f}) |"
        )
    seconds = table("cpu_seconds")
    print(f"\nCPU s a training: median {np.median(seconds):.1f}, {seconds.min():.1f} to {seconds.max():.1f}")
    print(json.dumps({"accuracy": accuracies.tolist()}))
    return 0 if rank(accuracies).is_good else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--proxy", default="default")
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sample-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args(arguments)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0]} x{len(names)}" if names else platform.processor() or platform.machine()


def _torch_version() -> str:
    from importlib.metadata import version

    return version("torch")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
