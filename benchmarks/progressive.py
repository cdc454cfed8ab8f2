"""Progressive learning against training at one image size: time to equal accuracy, accuracy at the end.

    python benchmarks/progressive.py --out DIR      some 8 minutes of one core; each training is kept in DIR
    python benchmarks/progressive.py --tiny         seconds, to see that it runs

One network, cluttered-digits drawn at 64 px, all arms judged at 64 px after every epoch:

    fixed      all epochs at 64 px with the last stage's regularisation, its learning rate swept beforehand on
               a seed of its own; the others take that rate as it is
    adaptive   image size, RandAugment, mixup and dropout rise together in four stages
    resized    the image size rises in the same stages, the regularisation is the last stage's throughout

`time` is processor time of the training steps (one thread), which other programs on the machine disturb
little; `work` is multiply-adds. Time to equal accuracy is what an arm had spent when its validation accuracy
first was the fixed arm's last one of the same seed or better, over what the fixed arm itself had then spent.
A call that was stopped goes on where it was, a training at a time.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from proxies.data.clutter import ClutteredDigits
from proxies.data.protocol import Splits
from proxies.numerics import training_numerics
from proxies.recipe import TrainingRecipe
from proxies.training import seeded_build
from proxies.training_run import TrainingRun
from search_spaces.architecture import Architecture, Head, Input, Stage, Stem, cost
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv

SIDE = 64
ARMS = ("fixed", "adaptive", "resized")
SWEEP_SEED = 100
SWEEP_RATES = (0.003, 0.006, 0.012, 0.024, 0.048)
LAST = {"randaugment": 4.0, "mixup": 0.1, "dropout": 0.2}
"""Regularisation of the last stage."""
RISES = {key: {"from": 0.0, "to": value} for key, value in LAST.items()}
ARCH = Architecture(
    name="progressive",
    input=Input(channels=1),
    stem=Stem(width=8),
    stages=(
        Stage(stride=2, depth=1, width=16, block=FusedMBConv(expand=2)),
        Stage(stride=2, depth=2, width=24, block=FusedMBConv(expand=2)),
        Stage(stride=2, depth=1, width=48, block=MBConv(expand=4)),
    ),
    head=Head(width=128),
)

Row = dict[str, Any]


def recipe_of(arm: str, rate: float, given: argparse.Namespace) -> TrainingRecipe:
    fields: Row = {
        "epochs": given.epochs,
        "batch_size": 128,
        "optimizer": "adamw",
        "learning_rate": rate,
        "weight_decay": 0.01,
        "warmup_epochs": 1,
        "shift": 0.05,
    }
    if arm == "fixed":
        fields |= {key: LAST[key] for key in ("randaugment", "mixup")}
    else:
        fields["progressive"] = {
            "stages": 4,
            "size": {"from": 28, "to": SIDE},
            **RISES,
            "regularisation": "adaptive" if arm == "adaptive" else "fixed",
        }
    return TrainingRecipe.model_validate(fields)


def train(arm: str, rate: float, seed: int, splits: Splits, given: argparse.Namespace) -> Row:
    """One training: accuracy, processor seconds, wall seconds and work, epoch by epoch."""
    recipe, device = recipe_of(arm, rate, given), torch.device("cpu")
    curve: list[Row] = []
    seconds = wall = 0.0
    work = 0
    with training_numerics(seed, "fp32", device):
        network = seeded_build(ARCH, 10, seed=seed, dropout=LAST["dropout"], resolution=SIDE)
        run = TrainingRun(network, splits, recipe, seed=seed, device=device, resolution=SIDE)
        while run.step < run.total_steps:
            side = run.settings.resolution
            began, began_wall = time.process_time(), time.monotonic()
            loss = run.train(run.steps_per_epoch)
            seconds, wall = seconds + time.process_time() - began, wall + time.monotonic() - began_wall
            # Forward and backward: three times the forward's.
            work += 3 * cost(ARCH, side, 10).macs * run.batch_size * run.steps_per_epoch
            accuracy = run.evaluate(splits.validation).accuracy
            curve.append(
                {"side": side, "seconds": seconds, "wall": wall, "work": work, "loss": loss, "top1": accuracy}
            )
    return {"arm": arm, "rate": rate, "seed": seed, "curve": curve}


def first_at(curve: list[Row], accuracy: float) -> Row | None:
    """The first epoch that is as accurate; None: none is."""
    return next((row for row in curve if row["top1"] >= accuracy), None)


def compared(rows: list[Row]) -> list[Row]:
    """Each arm beside the fixed one of its seed: times and work to equal accuracy, None where never equal."""
    fixed = {row["seed"]: row["curve"] for row in rows if row["arm"] == "fixed"}
    found = []
    for row in rows:
        reference = fixed[row["seed"]]
        target = reference[-1]["top1"]
        own, base = first_at(row["curve"], target), first_at(reference, target)
        assert base is not None
        last = row["curve"][-1]
        found.append(
            {
                "arm": row["arm"],
                "seed": row["seed"],
                "top1": last["top1"],
                "whole_time": last["seconds"] / reference[-1]["seconds"],
                "time": None if own is None else own["seconds"] / base["seconds"],
                "work": None if own is None else own["work"] / base["work"],
            }
        )
    return found


class Kept:
    """Trainings that were made, a line each, in a file; in memory without one."""

    def __init__(self, folder: Path | None, settings: Row) -> None:
        self._file = None if folder is None else folder / "progressive.jsonl"
        self._settings = settings
        lines = self._file.read_text().splitlines() if self._file and self._file.exists() else []
        self._rows = {self._key(row): row for row in map(json.loads, lines) if row["settings"] == settings}

    def get(self, arm: str, rate: float, seed: int, splits: Splits, given: argparse.Namespace) -> Row:
        """The training, made unless it is there."""
        key = (arm, rate, seed)
        if key not in self._rows:
            row = train(arm, rate, seed, splits, given) | {"settings": self._settings}
            self._rows[key] = row
            if self._file is not None:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            last = row["curve"][-1]
            print(
                f"  {arm}, rate {rate:g}, seed {seed}: top-1 {last['top1']:.4f}, {last['seconds']:.1f} CPU s",
                flush=True,
            )
        return self._rows[key]

    @staticmethod
    def _key(row: Row) -> tuple[str, float, int]:
        return row["arm"], row["rate"], row["seed"]


def show(found: list[Row], rate: float) -> None:
    print(f"\nvalidation accuracy at {SIDE} px; times as parts of the fixed arm's, learning rate {rate:g}\n")
    print("| arm | top-1 at the end | time of the whole training | time to equal accuracy | work to it |")
    print("|---|---|---|---|---|")
    for arm in ARMS:
        rows = [row for row in found if row["arm"] == arm]
        tops = ", ".join(f"{row['top1']:.4f}" for row in rows)
        cells = [f"{fmean(row['top1'] for row in rows):.4f} ({tops})"]
        cells.append(f"{fmean(row['whole_time'] for row in rows):.3f}")
        for name in ("time", "work"):
            values = [row[name] for row in rows]
            missed = sum(value is None for value in values)
            is_reached = not missed
            cells.append(f"{fmean(values):.3f}" if is_reached else f"not reached by {missed} of {len(rows)}")
        print(f"| {arm} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="one seed, two rates, few images: seconds")
    given = parser.parse_args()
    rates = SWEEP_RATES
    if given.tiny:
        given.seeds, given.epochs, given.images, rates = 1, 4, 256, SWEEP_RATES[1:3]
    torch.set_num_threads(1)
    data = ClutteredDigits(
        train_images=given.images, validation_images=min(2000, given.images), test_images=10, channels=1
    )
    splits = data.load(resolution=SIDE)
    settings = {"epochs": given.epochs, "data": data.fingerprint(), "arch": ARCH.digest, "last": LAST}
    kept = Kept(given.out, settings)
    swept = {rate: kept.get("fixed", rate, SWEEP_SEED, splits, given)["curve"][-1]["top1"] for rate in rates}
    rate = max(swept, key=lambda rate: swept[rate])
    print("fixed arm by learning rate: " + ", ".join(f"{key:g}: {value:.4f}" for key, value in swept.items()))
    if not given.tiny and rate in {rates[0], rates[-1]}:
        print("the best rate is at an end of the sweep: widen SWEEP_RATES before anything is concluded")
    rows = [kept.get(arm, rate, seed, splits, given) for seed in range(given.seeds) for arm in ARMS]
    show(compared(rows), rate)


if __name__ == "__main__":
    main()
