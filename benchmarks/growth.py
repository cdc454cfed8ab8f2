"""Budgeted growth on this machine: how well budgets are met, and whether it beats uniform scaling.

    python benchmarks/growth.py --out DIR    some 15 minutes of a quiet machine; what was found is in DIR
    python benchmarks/growth.py --tiny       a minute or two, to see that it runs

A small network is grown to 2 and to 4 times its measured step time. The chosen network and uniform scaling
are then timed again beside the network itself, in turns, by timings that took no part in the choice: `of the
limit` is their median ratio to it over twice or four times. Wanted: +3 % at most, -8 % at least. After that
both are trained on cluttered-digits from `--seeds` seeds that took no part in the choice either, each with
images that have grown as its own have. A call that was stopped goes on where it was: a growth, a timing, a
training.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean, median
from typing import Any

from nas.budget_scaling import grow_to_budget, parse_budget
from nas.growing import proxy_judge, step_timer
from search_spaces.architecture import Architecture, Head, Input, Recipe, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.document import architecture_from_document

TIMES = (2.0, 4.0)
JUDGE_SEED = 100
TASK = Path(__file__).with_name("growth_task.yaml")
BASE = Architecture(
    name="found",
    input=Input(channels=3),
    stem=Stem(width=16),
    stages=(
        Stage(stride=1, depth=2, width=16, block=FusedMBConv(expand=2)),
        Stage(stride=2, depth=2, width=24, block=FusedMBConv(expand=4)),
        Stage(stride=2, depth=3, width=48, block=MBConv(expand=4)),
    ),
    head=Head(width=128),
    recipe=Recipe(train_resolution=32, eval_resolution=32),
)

Row = dict[str, Any]


class Kept:
    """Values by name: made once, kept in a file if there is one."""

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / "growth.json"
        is_there = self._file is not None and self._file.exists()
        self._values: Row = json.loads(self._file.read_text()) if is_there and self._file else {}

    def get(self, name: str, make: Any) -> Any:
        """The value of this name, made unless it is there."""
        if name not in self._values:
            self._values[name] = make()
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.write_text(json.dumps(self._values))
            print(f"  {name}: done", flush=True)
        return self._values[name]


def grown_to(times: float, measured: int) -> Row:
    """The chosen network and uniform scaling, as documents with their directions."""
    growth = grow_to_budget(
        BASE,
        parse_budget(f"step_ms<={times}x"),
        measured=measured,
        time=step_timer(BASE, "cpu"),
        judge=proxy_judge(str(TASK), None, "cpu", JUDGE_SEED, base=BASE),
    )
    found = {"chosen": growth.best, "uniform": growth.uniform}
    return {
        name: None if each is None else {"direction": each.direction, "arch": each.arch.to_document()}
        for name, each in found.items()
    }


def ratio(arch: Architecture, rounds: int) -> list[float]:
    """Step time over that of the base, measured in turns."""
    time = step_timer(BASE, "cpu")
    found = []
    for _ in range(rounds):
        base, own = time([BASE, arch])
        if base is not None and own is not None:
            found.append(own / base)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--measure", type=int, default=4, help="directions of growth that are timed")
    parser.add_argument("--rounds", type=int, default=5, help="of the timings of what was chosen")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="one budget, one seed, one round")
    given = parser.parse_args()
    times = TIMES
    if given.tiny:
        times, given.seeds, given.measure, given.rounds = (2.0,), 1, 2, 1
    kept = Kept(given.out)
    print("| budget | network | direction | blocks | at px | of the limit | accuracy, seed by seed |")
    print("|---|---|---|---|---|---|---|")
    for budget in times:
        growth = kept.get(f"growth to {budget:g}x", lambda budget=budget: grown_to(budget, given.measure))
        accuracies = {}
        for name in ("chosen", "uniform"):
            if growth[name] is None:
                print(f"| {budget:g}x | {name} | none kept the limit | | | | |")
                continue
            arch = architecture_from_document(growth[name]["arch"])
            key = f"{name} at {budget:g}x"
            ratios = kept.get(f"time of {key}", lambda arch=arch: ratio(arch, given.rounds))
            accuracies[name] = [
                kept.get(
                    f"training of {key} from seed {seed}",
                    lambda arch=arch, seed=seed: proxy_judge(str(TASK), None, "cpu", seed, base=BASE)(arch),
                )
                for seed in range(given.seeds)
            ]
            share = f"{100.0 * (median(ratios) / budget - 1.0):+.1f} %" if ratios else "not measurable"
            tops = ", ".join(f"{value:.4f}" for value in accuracies[name])
            print(
                f"| {budget:g}x | {name} | {growth[name]['direction']} | {arch.num_blocks} "
                f"| {arch.eval_resolution} | {share} | {fmean(accuracies[name]):.4f} ({tops}) |"
            )
        if len(accuracies) == 2:
            pairs = list(zip(accuracies["chosen"], accuracies["uniform"], strict=True))
            wins = sum(chosen > uniform for chosen, uniform in pairs)
            gain = fmean(chosen - uniform for chosen, uniform in pairs)
            print(f"\n{budget:g}x: over uniform scaling in {wins} of {len(pairs)} seeds, by {gain:+.4f}\n")


if __name__ == "__main__":
    main()
