"""Precision, memory layout and randomness of a training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from proxies.recipe import TrainingRecipe
from proxies.records import Precision


def memory_format(recipe: TrainingRecipe) -> torch.memory_format:
    """PyTorch's name of the recipe's layout."""
    return torch.channels_last if recipe.memory_format == "channels_last" else torch.contiguous_format


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Automatic mixed precision, on where `precision` is bf16 or fp16."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision in ("bf16", "fp16"))


@contextmanager
def training_numerics(seed: int, precision: Precision, device: torch.device) -> Iterator[None]:
    """Where a training happens: random numbers and precision its own, all put back afterwards."""
    with _own_randomness(seed, device), _fp32_precision(precision, device):
        yield


@contextmanager
def _own_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Seed dropout and stochastic depth, and put torch's global generators back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def _fp32_precision(precision: Precision, device: torch.device) -> Iterator[None]:
    """TF32 exactly when asked for: left alone, cuDNN would use it for every fp32 convolution."""
    if device.type != "cuda":
        yield
        return
    switches = [torch.backends.cuda.matmul, getattr(torch.backends.cudnn, "conv")]  # noqa: B009
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        for switch, old in zip(switches, before, strict=True):
            switch.fp32_precision = old
