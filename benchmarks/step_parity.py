"""Our networks beside the same ones written plainly, and fused blocks beside depthwise ones of equal work.

    python benchmarks/step_parity.py                        small, on one thread of the CPU: two minutes
    python benchmarks/step_parity.py --resolution 224 --batch 32 --device cuda --precision bf16

EfficientNetV2-S and B0 are written out below in a few lines of torch, apart from the product. Both sides
have the same number of parameters and the same settings, and training steps of both are timed in turns in
this process. Wanted is a ratio of 1: exits with 1 where an interval lies outside of 0.95 to 1.05, or
parameters differ.

The last line has no wanted value: a network of fused blocks and one of depthwise blocks, their multiply-adds
equal within 2 %.
"""

# Shapes: B batch, C channels, H height, W width, K classes.

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from proxies.backend import Backend
from proxies.hardware import load_profile, timing_settings
from proxies.interleaving import Attempt, interleave, plan_blocks, warm_up
from proxies.records import TimingSettings
from proxies.training_step import TrainingStep
from search_spaces.architecture import Architecture, Head, Stage, Stem, cost
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.document import load_architecture
from search_spaces.network import build

LEAST, MOST = 0.95, 1.05
MACS_WITHIN = 0.02

# Rows: is fused, expansion, stride, channels, layers. Tan & Le 2021, arXiv:2104.00298, table 4, and its code.
Row = tuple[bool, int, int, int, int]
B0: list[Row] = [(True, 1, 1, 16, 1), (True, 4, 2, 32, 2), (True, 4, 2, 48, 2)]
B0 += [(False, 4, 2, 96, 3), (False, 6, 1, 112, 5), (False, 6, 2, 192, 8)]
S: list[Row] = [(True, 1, 1, 24, 2), (True, 4, 2, 48, 4), (True, 4, 2, 64, 4)]
S += [(False, 4, 2, 128, 6), (False, 6, 1, 160, 9), (False, 6, 2, 256, 15)]
PLAIN = {"efficientnetv2-b0": (B0, 32), "efficientnetv2-s": (S, 24)}


def conv(
    inside: int, out: int, kernel: int, stride: int = 1, groups: int = 1, *, act: bool = True
) -> nn.Sequential:
    """Convolution, batch norm, activation."""
    layers: list[nn.Module] = [
        nn.Conv2d(inside, out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3),
    ]
    return nn.Sequential(*layers, *([nn.SiLU()] if act else []))


class Gate(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int, reduced: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, reduced, 1), nn.Conv2d(reduced, width, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C, H, W)."""
        gate = nn.functional.silu(self.down(x_BCHW.mean((2, 3), keepdim=True)))
        return x_BCHW * self.up(gate).sigmoid()


class PlainBlock(nn.Module):
    """One layer of a row."""

    def __init__(self, inside: int, out: int, stride: int, expand: int, *, fused: bool) -> None:
        super().__init__()
        hidden = inside * expand
        if fused and expand == 1:
            self.body = conv(inside, out, 3, stride)
        elif fused:
            self.body = nn.Sequential(conv(inside, hidden, 3, stride), conv(hidden, out, 1, act=False))
        else:
            self.body = nn.Sequential(
                conv(inside, hidden, 1),
                conv(hidden, hidden, 3, stride, hidden),
                Gate(hidden, max(1, inside // 4)),
                conv(hidden, out, 1, act=False),
            )
        self.skips = stride == 1 and inside == out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Shape: (B, C, H, W) -> (B, C', H / stride, W / stride)."""
        y_BCHW = self.body(x_BCHW)
        return x_BCHW + y_BCHW if self.skips else y_BCHW


def plain_network(rows: Sequence[Row], stem: int, classes: int) -> nn.Module:
    """The whole network of a table: stem, rows, head of 1280, pooling, classifier."""
    layers: list[nn.Module] = [conv(3, stem, 3, 2)]
    inside = stem
    for fused, expand, stride, out, count in rows:
        for index in range(count):
            layers.append(PlainBlock(inside, out, stride if index == 0 else 1, expand, fused=fused))
            inside = out
    layers += [conv(inside, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes)]
    return nn.Sequential(*layers)


def fused_and_depthwise(resolution: int) -> tuple[Architecture, Architecture]:
    """A network of fused blocks, and the one of depthwise blocks that is nearest to it in multiply-adds.

    Raises:
        ValueError: none is within `MACS_WITHIN`.
    """

    def network(width: int, depth: int, block: FusedMBConv | MBConv) -> Architecture:
        return Architecture(
            stem=Stem(width=24),
            stages=(Stage(stride=1, depth=depth, width=width, block=block),),
            head=Head(width=256),
        )

    fused = network(32, 3, FusedMBConv(expand=4))
    wanted = cost(fused, resolution).macs
    others = [
        network(width, depth, MBConv(expand=4)) for width in range(16, 161, 8) for depth in range(1, 13)
    ]
    nearest = min(others, key=lambda arch: abs(cost(arch, resolution).macs - wanted))
    away = abs(cost(nearest, resolution).macs / wanted - 1)
    if away > MACS_WITHIN:
        raise ValueError(f"at {resolution} px the nearest depthwise network is {away:.1%} away")
    return fused, nearest


def beside(mine: nn.Module, other: nn.Module, settings: TimingSettings, backend: Backend) -> Attempt:
    """The step time of `mine` over that of `other`, by the product's method of timing."""
    with backend.prepared(settings):
        steps = [TrainingStep(network, settings, device=backend.device) for network in (mine, other)]
        deadline = backend.now() + settings.budget_seconds
        warm = [
            warm_up(step, backend.time_steps(step, 1)[0], settings.budget_seconds, backend) for step in steps
        ]
        attempts = interleave(
            *steps,
            plan_blocks(warm[0].last_ms, warm[1].last_ms, backend),
            backend=backend,
            rng=np.random.default_rng(0),
            tolerance=settings.tolerance,
            deadline=deadline,
        )
    return attempts[-1]


def line(name: str, what: str, attempt: Attempt) -> str:
    """One row of the table."""
    found = attempt.verdict
    accepted = "yes" if not attempt.reasons else f"no: {'; '.join(attempt.reasons)}"
    shown = f"{found.ratio:.3f} | {found.ratio_low:.3f} to {found.ratio_high:.3f}"
    return f"| {name} | {what} | {found.candidate_ms:.1f} | {found.reference_ms:.1f} | {shown} | {accepted} |"


def main(arguments: Sequence[str]) -> int:
    """Time all pairs and print the table."""
    options = _options(arguments)
    backend = _backend(options.device)
    is_gpu = options.device != "cpu"
    settings = timing_settings(
        load_profile("h100" if is_gpu else "cpu"),
        load_architecture("efficientnetv2-b0"),
        resolution=options.resolution,
        batch_size=options.batch,
        precision=options.precision,
        compile="none",
        budget_seconds=options.budget_seconds,
    )
    print(f"training steps, {settings.resolution} px, batch {settings.batch_size}, {settings.precision}\n")
    print("| network | parameters, or MACs | ms | ms of the other | ratio | 95 % interval | accepted |")
    print("|---|---|---|---|---|---|---|")
    problems = []
    for name, (rows, stem) in PLAIN.items():
        ours = build(load_architecture(name), settings.num_classes, dropout=0.0, drop_path=0.0)
        plain = plain_network(rows, stem, settings.num_classes)
        counts = [sum(each.numel() for each in network.parameters()) for network in (ours, plain)]
        attempt = beside(ours, plain, settings, backend)
        print(line(f"{name} / written plainly", f"{counts[0]:,}", attempt), flush=True)
        if counts[0] != counts[1]:
            problems.append(f"{name} has {counts[0]:,} parameters, the plain one {counts[1]:,}")
        if attempt.verdict.ratio_low > MOST or attempt.verdict.ratio_high < LEAST:
            problems.append(f"{name} takes {attempt.verdict.ratio:.3f} times as long as the plain one")
    fused, depthwise = fused_and_depthwise(settings.resolution)
    attempt = beside(build(depthwise), build(fused), settings, backend)
    macs = [f"{cost(arch, settings.resolution).macs / 1e6:.1f} M" for arch in (depthwise, fused)]
    print(line("depthwise / fused", " and ".join(macs), attempt))
    print("\n" + ("; ".join(problems) or "no interval lies outside of 0.95 to 1.05"))
    return 1 if problems else 0


def _backend(device: str) -> Backend:
    from proxies.detection import find_machine
    from proxies.time_job import backend_for

    machine = find_machine()
    if device == "cpu":
        return backend_for(machine.cpu)
    if not machine.accelerators:
        raise SystemExit(f"--device {device}: no accelerator is here; leave it out for the CPU")
    return backend_for(machine.accelerators[0])


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--budget-seconds", type=float, default=30.0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
