"""EfficientNetV2 forward, written apart from the product: functional calls on tensors asked for by name.

Two layouts of names, timm's (`tf_efficientnetv2_b0`, SAME padding) and torchvision's (`efficientnet_v2_s`,
symmetric). Asking makes a tensor the first time, so one forward pass also gives the state dict.
Source of layers and numbers: Tan & Le 2021, arXiv:2104.00298, table 4, and its released code.
"""

import torch
from torch import Tensor
from torch.nn import functional

# Rows: kind, expansion, stride, channels, layers.
B0 = [("f", 1, 1, 16, 1), ("f", 4, 2, 32, 2), ("f", 4, 2, 48, 2)]
B0 += [("m", 4, 2, 96, 3), ("m", 6, 1, 112, 5), ("m", 6, 2, 192, 8)]
S = [("f", 1, 1, 24, 2), ("f", 4, 2, 48, 4), ("f", 4, 2, 64, 4)]
S += [("m", 4, 2, 128, 6), ("m", 6, 1, 160, 9), ("m", 6, 2, 256, 15)]


class Store(dict):
    """Tensors by name; one that is not there yet is drawn."""

    def __init__(self, tensors=(), *, is_counted):
        super().__init__(tensors)
        self._rng = torch.Generator().manual_seed(0)
        self._is_counted = is_counted

    def get_one(self, name, *shape, low=-1.0, high=1.0, scale=1.0):
        if name not in self:
            drawn = torch.rand(shape, generator=self._rng) * (high - low) + low
            self[name] = drawn * scale
        assert self[name].shape == shape, name
        return self[name]

    def conv(self, x, name, out, kernel, stride, *, same, groups=1):
        inside = x.shape[1] // groups
        weight = self.get_one(
            f"{name}.weight", out, inside, kernel, kernel, scale=(inside * kernel**2) ** -0.5
        )
        if not same:
            return functional.conv2d(x, weight, None, stride, (kernel - 1) // 2, 1, groups)
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = functional.pad(x, (total // 2, total - total // 2, total // 2, total - total // 2))
        return functional.conv2d(x, weight, None, stride, 0, 1, groups)

    def norm(self, x, name):
        width = x.shape[1]
        mean, variance = (
            self.get_one(f"{name}.running_mean", width),
            self.get_one(f"{name}.running_var", width, low=0.1),
        )
        weight, bias = self.get_one(f"{name}.weight", width, low=0.5), self.get_one(f"{name}.bias", width)
        if self._is_counted:
            self.setdefault(f"{name}.num_batches_tracked", torch.tensor(5))
        scale = weight / (variance + 1e-3).sqrt()
        return x * scale[:, None, None] + (bias - mean * scale)[:, None, None]

    def excite(self, x, reduce, restore, reduced):
        width = x.shape[1]
        s = x.mean((2, 3), keepdim=True)
        for name, out, inside in ((reduce, reduced, width), (restore, width, reduced)):
            weight = self.get_one(f"{name}.weight", out, inside, 1, 1, scale=inside**-0.5)
            s = functional.conv2d(s, weight, self.get_one(f"{name}.bias", out))
            s = functional.silu(s) if name == reduce else s.sigmoid()
        return x * s


def silu(x: Tensor) -> Tensor:
    return x * x.sigmoid()


def timm_block(store, x, name, kind, expand, stride, out):
    same, width = True, x.shape[1] * expand
    reduced = max(1, int(x.shape[1] * 0.25))
    if kind == "f" and expand == 1:
        return silu(store.norm(store.conv(x, f"{name}.conv", out, 3, stride, same=same), f"{name}.bn1"))
    if kind == "f":
        x = silu(store.norm(store.conv(x, f"{name}.conv_exp", width, 3, stride, same=same), f"{name}.bn1"))
        return store.norm(store.conv(x, f"{name}.conv_pwl", out, 1, 1, same=same), f"{name}.bn2")
    x = silu(store.norm(store.conv(x, f"{name}.conv_pw", width, 1, 1, same=same), f"{name}.bn1"))
    x = store.conv(x, f"{name}.conv_dw", width, 3, stride, same=same, groups=width)
    x = store.excite(
        silu(store.norm(x, f"{name}.bn2")), f"{name}.se.conv_reduce", f"{name}.se.conv_expand", reduced
    )
    return store.norm(store.conv(x, f"{name}.conv_pwl", out, 1, 1, same=same), f"{name}.bn3")


def torchvision_block(store, x, name, kind, expand, stride, out):
    same, width = False, x.shape[1] * expand
    reduced = max(1, x.shape[1] // 4)

    def step(x, place, channels, kernel, stride=1, groups=1):
        x = store.conv(x, f"{name}.block.{place}.0", channels, kernel, stride, same=same, groups=groups)
        return store.norm(x, f"{name}.block.{place}.1")

    if kind == "f" and expand == 1:
        return silu(step(x, 0, out, 3, stride))
    if kind == "f":
        return step(silu(step(x, 0, width, 3, stride)), 1, out, 1)
    x = silu(step(silu(step(x, 0, width, 1)), 1, width, 3, stride, width))
    x = store.excite(x, f"{name}.block.2.fc1", f"{name}.block.2.fc2", reduced)
    return step(x, 3, out, 1)


def forward(
    store: Store, x: Tensor, layout: str, rows, stem: int, head: int = 1280, classes: int = 1000
) -> Tensor:
    same = layout == "timm"
    if same:
        block, prefix, first, names = (
            timm_block,
            "blocks",
            0,
            ("conv_stem", "bn1", "conv_head", "bn2", "classifier"),
        )
    else:
        last = f"features.{len(rows) + 1}"
        names = ("features.0.0", "features.0.1", f"{last}.0", f"{last}.1", "classifier.1")
        block, prefix, first = torchvision_block, "features", 1
    x = silu(store.norm(store.conv(x, names[0], stem, 3, 2, same=same), names[1]))
    for index, (kind, expand, stride, out, layers) in enumerate(rows):
        for layer in range(layers):
            y = block(
                store, x, f"{prefix}.{index + first}.{layer}", kind, expand, stride if layer == 0 else 1, out
            )
            x = x + y if y.shape == x.shape and (stride == 1 or layer) else y
    x = silu(store.norm(store.conv(x, names[2], head, 1, 1, same=same), names[3])).mean((2, 3))
    weight = store.get_one(f"{names[4]}.weight", classes, head, scale=head**-0.5)
    return x @ weight.T + store.get_one(f"{names[4]}.bias", classes)
