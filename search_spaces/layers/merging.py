"""Branches merged after training: one static convolution in place of each that was summed of several."""

import copy

import torch
from torch import nn

from search_spaces.layers.convolution import conv2d
from search_spaces.layers.reparam import ReparamConv2d


def merge(network: nn.Module) -> nn.Module:
    """A copy that computes the same with static convolutions; the network itself stays trainable as it was.

    Its parameters are those of a network built of `search_spaces.merging.merged(arch)`, by name and shape.
    """
    found = copy.deepcopy(network)
    if isinstance(found, ReparamConv2d):
        return _static(found)
    for module in list(found.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ReparamConv2d):
                setattr(module, name, _static(child))
    return found


def _static(conv: ReparamConv2d) -> nn.Module:
    width, per_group, kernel, _ = conv.kernel_shape
    in_width = per_group * conv.groups
    if conv.bias is not None:
        static: nn.Module = nn.Conv2d(in_width, width, kernel)
    else:
        static = conv2d(
            in_width, width, kernel=kernel, stride=conv.stride, padding=conv.padding, groups=conv.groups
        )
    state = {"weight": conv.merged_kernel().detach()} | (
        {} if conv.bias is None else {"bias": conv.bias.detach()}
    )
    static = static.to(device=conv.branches.device, dtype=conv.branches.dtype)
    with torch.no_grad():
        static.load_state_dict(state)
    return static.train(conv.training)
