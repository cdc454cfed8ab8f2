"""timm's reading of its block strings, written down a second time: what timm would build, without timm.

Source: timm/models/_efficientnet_builder.py and _efficientnet_blocks.py.
"""

import re
from functools import partial

from torch import nn

ACTIVATIONS = {"sw": nn.SiLU, "re": nn.ReLU, "hs": nn.Hardswish}


def divisible(value, divisor=8):
    """timm's `make_divisible`: to the nearest multiple, never more than 10 % below."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Gate(nn.Module):
    def __init__(self, width, rd_ratio, act):
        super().__init__()
        reduced = round(width * rd_ratio)
        self.layers = nn.Sequential(
            nn.Conv2d(width, reduced, 1), act(), nn.Conv2d(reduced, width, 1), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.layers(x.mean((2, 3), keepdim=True))


class Residual(nn.Module):
    def __init__(self, layers, *, has_skip):
        super().__init__()
        self.layers, self.has_skip = nn.Sequential(*layers), has_skip

    def forward(self, x):
        y = self.layers(x)
        return y + x if self.has_skip else y


def conv(in_width, width, kernel, stride=1, groups=1):
    # symmetric padding, as timm's get_padding gives it
    return nn.Conv2d(
        in_width, width, kernel, stride, ((stride - 1) + kernel - 1) // 2, groups=groups, bias=False
    )


def block(kind, options, *, in_width, stride, act, norm):
    """One block of a string."""
    width, kernel = int(options["c"]), int(options["k"])
    has_skip = stride == 1 and in_width == width
    if kind == "cn":
        assert "skip" in options
        return Residual([conv(in_width, width, kernel, stride), norm(width), act()], has_skip=has_skip)
    ratio = float(options.get("se", 0))
    expand = float(options["e"]) if kind != "ds" else 1.0
    hidden = in_width if kind == "ds" else divisible(in_width * expand)
    gate = [Gate(hidden, ratio / expand, act)] if ratio else []
    last = [conv(hidden, width, 1), norm(width)]
    if kind == "er":
        return Residual(
            [conv(in_width, hidden, kernel, stride), norm(hidden), act(), *gate, *last], has_skip=has_skip
        )
    first = [conv(in_width, hidden, 1), norm(hidden), act()] if kind == "ir" else []
    depthwise = [conv(hidden, hidden, kernel, stride, groups=hidden), norm(hidden), act()]
    return Residual([*first, *depthwise, *gate, *last], has_skip=has_skip)


def built(strings, *, num_classes, in_chans, stem_size, num_features, act_layer, norm_layer):
    """What timm's EfficientNet makes of block strings, one list of one string for each stage."""
    layers = [conv(in_chans, stem_size, 3, 2), norm_layer(stem_size), act_layer()]
    in_width = stem_size
    for (string,) in strings:
        kind, *parts = string.split("_")
        options = {}
        for part in parts:
            key, *value = re.split(r"(\d.*)", part)
            options[key] = value[0] if value else True
        named = next((part[1:] for part in parts if part[0] == "n" and part != "noskip"), None)
        act = act_layer if named is None else ACTIVATIONS[named]
        for index in range(int(options["r"])):
            stride = int(options["s"]) if index == 0 else 1
            layers.append(block(kind, options, in_width=in_width, stride=stride, act=act, norm=norm_layer))
            in_width = int(options["c"])
    layers += [conv(in_width, num_features, 1), norm_layer(num_features), act_layer()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(num_features, num_classes))


def twin(module, num_classes):
    """The network of an exported timm file, from its strings and the arguments in its text."""
    text = module
    scope = {"nn": nn, "partial": partial}
    strings = eval(re.search(r"ARCH_DEF = (\[.*?\n\])", text, re.DOTALL)[1])
    arguments = {
        name: eval(re.search(rf"{name}=(.*),\n", text)[1], scope)
        for name in ("in_chans", "stem_size", "num_features", "act_layer", "norm_layer")
    }
    assert 'pad_type=""' in text
    assert "fix_stem=True" in text
    assert "round_chs_fn=int" in text
    return built(strings, num_classes=num_classes, **arguments)
