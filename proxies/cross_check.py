"""The closed form beside the built network, as two independent counters see it."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.architecture import Architecture, cost
from search_spaces.network import build

MULTIPLICATIONS = ("conv", "linear", "matmul", "addmm", "bmm", "einsum")
"""fvcore's operators that are multiply-adds; what it counts for norms and pooling is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheck:
    """Parameters and multiply-adds of one network for one image, counted in several ways.

    `fvcore_macs` is None where fvcore is not installed.
    """

    resolution: int
    num_classes: int
    params: int
    macs: int
    built_params: int
    flop_counter_macs: int
    fvcore_macs: int | None

    @property
    def agrees(self) -> bool:
        """Whether every count equals the closed form."""
        counted = {self.flop_counter_macs, self.macs if self.fvcore_macs is None else self.fvcore_macs}
        return self.built_params == self.params and counted == {self.macs}


def cross_check(arch: Architecture, resolution: int, num_classes: int = 1000) -> CrossCheck:
    """Count `arch` in closed form, by building it, with FlopCounterMode / 2 and with fvcore.

    fvcore traces a real forward pass on the CPU, so large networks at high resolutions take seconds.

    Raises:
        ValueError: a resolution or class count below 1.
    """
    expected = cost(arch, resolution, num_classes)
    with torch.device("meta"):
        network = build(arch, num_classes, resolution=resolution).eval()
    image = torch.empty((1, arch.input.channels, resolution, resolution), device="meta")
    return CrossCheck(
        resolution=resolution,
        num_classes=num_classes,
        params=expected.params,
        macs=expected.macs,
        built_params=sum(parameter.numel() for parameter in network.parameters()),
        flop_counter_macs=flop_counter_macs(network, image),
        fvcore_macs=fvcore_macs(_on_cpu(network), torch.zeros(image.shape)),
    )


def flop_counter_macs(network: nn.Module, image: torch.Tensor) -> int:
    """Multiply-adds of a forward pass by torch's own counter, which counts two operations for each.

    Nothing is computed where network and image are on the meta device.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return int(counter.get_total_flops()) // 2


def _on_cpu(network: nn.Module) -> nn.Module:
    """A network from the meta device with zeros for weights, which are as good as any to count with."""
    network.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.zero_()
    return network


def fvcore_macs(network: nn.Module, image: torch.Tensor) -> int | None:
    """Multiply-adds of convolutions and linear layers by fvcore; None where it is not installed.

    It cannot trace on the meta device.
    """
    with _quiet():
        try:
            from fvcore.nn import FlopCountAnalysis
        except ImportError:
            return None
        analysis = FlopCountAnalysis(network, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts = analysis.by_operator()
    return int(sum(counts[name] for name in MULTIPLICATIONS if name in counts))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """fvcore scripts and traces with torch.jit, which warns of its own age and of constant shapes."""
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
