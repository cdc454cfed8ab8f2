"""Exported modules, read as a user reads them, and networks to export."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch

from search_spaces.architecture import cost
from search_spaces.space_document import load_space

CLASSES = 10


def members(space, count, seed=0):
    """Random members of a shipped space."""
    found = load_space(space)
    return [found.decode(genes) for genes in found.sample(np.random.default_rng(seed), count)]


def small_member(space, seed=0):
    """The smallest of a few random members of a shipped space."""
    return min(members(space, 6, seed), key=lambda arch: cost(arch, 64).params)


def imported(path):
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(f"exported_{Path(path).stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_statistics(network, seed=0):
    """The network, every parameter and statistic changed at random: zeros and ones would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.mul_(0.9 + 0.2 * noise).add_(0.02 * (noise if "var" in name else noise - 0.5))
    return network


def with_found_statistics(network, resolution, images=256):
    """The network, its norms' statistics found on noise: made-up ones let the maps of some explode."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        network.train()(torch.randn(images, 3, resolution, resolution, generator=generator))
    return network.eval()


def torch_alone(folder):
    """A folder that holds PyTorch and what it cannot do without, for `python -S`."""
    site = Path(torch.__file__).parents[1]
    needed = (
        "torch",
        "torchgen",
        "functorch",
        "typing_extensions.py",
        "sympy",
        "mpmath",
        "networkx",
        "jinja2",
    )
    needed += ("markupsafe", "filelock", "fsspec")
    for name in needed:
        if (site / name).exists():
            (folder / name).symlink_to(site / name)
    return folder


PYTHON = sys.executable
