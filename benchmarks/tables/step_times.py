"""Measured step times of EfficientNetV2's networks and of random members of `effnetv2`, on this device.

    python benchmarks/tables/step_times.py --out docs/benchmarks/h100.csv [--minutes 6] [--members 40]

Every network is timed at its training resolution, eagerly and (on CUDA) as a graph, each beside the reference
network in the same mode. A row is written as soon as it is known; run again, the script
goes on with what is missing. Rows come in a fixed order, so a shorter run measures a prefix of a longer one.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from proxies.device_lock import exclusive
from proxies.hardware import ResolvedHardware, resolve_hardware, timing_settings
from proxies.interleaving import StepTooSlowError
from proxies.records import CompileMode, TimingSettings
from proxies.time_job import backend_for
from proxies.timing import StepTiming, is_out_of_memory, measure_step
from search_spaces.architecture import Architecture, cost
from search_spaces.document import load_architecture
from search_spaces.network import build
from search_spaces.space_document import load_space

PUBLISHED = ("b0", "b1", "b2", "b3", "s", "m", "l")
SPACE, SEED = "effnetv2", 0
OUTCOME = (
    "status", "reason", "step_ms", "step_ms_low", "step_ms_high", "ratio", "ratio_low", "ratio_high",
    "reference_ms", "pairs", "first_ms", "peak_memory_bytes", "seconds",
)  # fmt: skip
COLUMNS = (
    "network", "genes", "digest", "mode", "resolution", "batch_size", "precision", "memory_format",
    "autotune", "params", "macs", "activation_bytes", *OUTCOME, "device", "driver", "torch", "cudnn", "date",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One thing to measure."""

    name: str
    genes: str
    arch: Architecture
    settings: TimingSettings


def networks(members: int) -> Iterator[tuple[str, str, Architecture]]:
    """The published networks, then random members of the space with their genes."""
    for name in PUBLISHED:
        yield f"efficientnetv2-{name}", "", load_architecture(f"efficientnetv2-{name}")
    space = load_space(SPACE)
    for number, genes in enumerate(space.sample(np.random.default_rng(SEED), members)):
        yield f"{SPACE}-{number}", " ".join(map(str, genes)), space.decode(genes)


def plan(hardware: ResolvedHardware, arguments: argparse.Namespace) -> Iterator[Row]:
    modes: tuple[CompileMode, ...] = ("none", "cuda-graph") if hardware.profile.kind == "cuda" else ("none",)
    for name, genes, arch in networks(arguments.members):
        for mode in modes:
            settings = timing_settings(
                hardware.profile,
                arch,
                resolution=arguments.resolution,
                batch_size=arguments.batch,
                compile=mode,
                autotune=arguments.autotune,
                budget_seconds=arguments.budget,
            )
            yield Row(name, genes, arch, settings)


def measured(row: Row, hardware: ResolvedHardware) -> dict[str, Any]:
    """The outcome columns of a row."""
    start = time.perf_counter()
    try:
        with exclusive(hardware.device.lock_name):
            timing = measure_step(
                lambda: build(row.arch, row.settings.num_classes, resolution=row.settings.resolution),
                row.settings,
                backend=backend_for(hardware.device),
                rng=np.random.default_rng(0),
            )
    except (RuntimeError, MemoryError, StepTooSlowError) as error:
        if not (is_out_of_memory(error) or isinstance(error, StepTooSlowError)):
            raise
        status = "oom" if is_out_of_memory(error) else "timeout"
        found: dict[str, Any] = {"status": status, "reason": str(error).splitlines()[0][:120]}
    else:
        found = figures(timing)
    found["seconds"] = round(time.perf_counter() - start, 2)
    if hardware.profile.kind == "cuda":
        torch.cuda.empty_cache()
    return found


def figures(timing: StepTiming) -> dict[str, Any]:
    verdict = timing.best.verdict
    exact = {
        "step_ms": timing.step_ms,
        "step_ms_low": timing.step_ms_low,
        "step_ms_high": timing.step_ms_high,
        "ratio": verdict.ratio,
        "ratio_low": verdict.ratio_low,
        "ratio_high": verdict.ratio_high,
        "reference_ms": timing.reference_ms,
        "first_ms": timing.candidate_warm_up.first_ms,
    }
    return {
        "status": "ok" if timing.reason is None else "unstable",
        "reason": timing.reason or "",
        "pairs": verdict.pairs,
        "peak_memory_bytes": timing.peak_memory.peak_bytes,
        **{name: round(value, 4) for name, value in exact.items()},
    }


def constants(row: Row, hardware: ResolvedHardware) -> dict[str, Any]:
    """What is known of a row before it is measured."""
    exact = cost(row.arch, row.settings.resolution)
    return {
        "network": row.name,
        "genes": row.genes,
        "digest": row.arch.digest,
        "mode": "eager" if row.settings.compile == "none" else row.settings.compile,
        "resolution": row.settings.resolution,
        "batch_size": row.settings.batch_size,
        "precision": row.settings.precision,
        "memory_format": row.settings.memory_format,
        "autotune": row.settings.autotune,
        "params": exact.params,
        "macs": exact.macs,
        "activation_bytes": exact.activation_bytes,
        "device": hardware.device.name,
        "driver": hardware.device.driver,
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main(arguments_given: list[str] | None = None) -> None:
    """Measure what is missing in the table, until the time is over."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hardware", default="auto")
    parser.add_argument("--members", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--budget", type=float, default=6.0, help="seconds for each timing, at most")
    parser.add_argument("--resolution", type=int, help="default: each network's training resolution")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--autotune", action=argparse.BooleanOptionalAction, default=None)
    arguments = parser.parse_args(arguments_given)
    until = time.monotonic() + 60.0 * arguments.minutes
    hardware = resolve_hardware(arguments.hardware)
    done = set()
    if arguments.out.exists():
        with arguments.out.open(newline="") as file:
            done = {(line["digest"], line["mode"]) for line in csv.DictReader(file)}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with arguments.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if not done:
            writer.writeheader()
        for row in plan(hardware, arguments):
            known = constants(row, hardware)
            if (known["digest"], known["mode"]) in done:
                continue
            if time.monotonic() > until:
                sys.exit("the time is over; run again to go on")
            outcome = measured(row, hardware)
            writer.writerow(known | outcome)
            file.flush()
            shown = {name: outcome.get(name) for name in ("status", "step_ms", "ratio", "pairs", "seconds")}
            print(row.name, known["mode"], shown, flush=True)


if __name__ == "__main__":
    main()
