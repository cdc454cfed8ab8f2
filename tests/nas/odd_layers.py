"""Layers as other people write them: some can leave as source, some cannot."""

import math
from collections import Counter
from typing import Literal

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional

Mode = Literal["sum", "mean"]
SCALES = (0.5, 2.0)
COUNTER = Counter()


def _rescaled(x: Tensor, mode: Mode, scales: tuple[float, ...] = SCALES) -> Tensor:
    y = sum(functional.relu(x) * scale for scale in scales)
    return y / len(scales) if mode == "mean" else y


class Experts(nn.Module):
    """Parameters of its own, one initialised part after part; buffers; helpers; a bias that is None."""

    def __init__(self, width: int, mode: Mode) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, width, width))
        for expert in self.weight:
            nn.init.normal_(expert, 0.0, math.sqrt(2.0 / width))
        self.gain = nn.Parameter(torch.ones(width))
        self.cut = nn.Parameter(torch.empty(width, width))
        nn.init.uniform_(self.cut)
        with torch.no_grad():
            self.cut.mul_(0.5)
        self.bias = None
        self.register_buffer("shift", torch.arange(3.0))
        self.register_buffer("once", torch.tensor([1, 2]), persistent=False)
        self.mode = mode
        self.made_by = COUNTER  # no method reads it, so it need not leave
        self.layers = nn.ModuleList([nn.Linear(width, width, bias=False), nn.Tanh()])

    @property
    def num_experts(self) -> int:
        """How many there are."""
        return len(self.weight)

    def forward(self, x_BN: Tensor) -> Tensor:
        """Mix all experts."""
        mixed = self.weight.sum(0) / self.num_experts * math.pi + self.cut + self.shift.sum() * self.once[0]
        y_BN = _rescaled(x_BN @ mixed * self.gain, self.mode)
        for layer in self.layers:
            y_BN = layer(y_BN)
        return y_BN if self.bias is None else y_BN + self.bias


class Unequal(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, 4))
        nn.init.zeros_(self.weight[0])
        nn.init.ones_(self.weight[1])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Unset(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Truncated(nn.Module):
    """Rejects samples in a loop, so that no operation says what it does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4))
        nn.init.trunc_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Copied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4))
        with torch.no_grad():
            self.weight.copy_(torch.linspace(0, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Computed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class ReadsAnObject(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Counter()

    def forward(self, x: Tensor) -> Tensor:
        self.seen["x"] += 1
        return x


class NeedsNumpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float(numpy.pi)


class ReadsAGlobal(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * COUNTER["x"]


class OwnBase(nn.Tanh):
    def __init__(self) -> None:
        super().__init__()
        self.extra = 1


class LargeBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.zeros(5000))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table.sum()


def same_name() -> list[nn.Module]:
    """Two classes of one name."""

    class Twin(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    first = Twin

    class Twin(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -x

    return [first(), Twin()]
