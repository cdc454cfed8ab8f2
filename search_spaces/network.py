"""From an architecture to a `torch.nn.Module`."""

# Shapes: B batch, C channels, F features (head width), K classes, H height, W width.

from importlib import import_module
from typing import cast

from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.cost import output_side
from search_spaces.layers.activation import activation
from search_spaces.layers.context import LayerContext
from search_spaces.layers.convolution import conv2d, init_linear
from search_spaces.layers.pooled_head import FeatureLayer, PooledHead
from search_spaces.registry import BLOCKS


class Network(nn.Module):
    """Stem, blocks, head, classifier.

    Plain modules throughout: channels_last, autocast, torch.compile, torch.export and state_dict work as
    for any other network.

    Shape: (B, C, H, W) -> (B, K).
    """

    def __init__(
        self, *, stem: nn.Module, blocks: nn.Module, head: nn.Module, dropout: float, classifier: nn.Module
    ) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = blocks
        self.head = head
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Logits of a batch of images."""
        features_BF = self.head(self.blocks(self.stem(x_BCHW)))
        if features_BF.dim() == 4:  # a map: the convolutional head leaves pooling for here
            features_BF = features_BF.mean((2, 3))
        logits_BK: Tensor = self.classifier(self.dropout(features_BF))
        return logits_BK


def build(
    arch: Architecture,
    num_classes: int = 1000,
    *,
    dropout: float | None = None,
    drop_path: float | None = None,
    resolution: int | None = None,
) -> Network:
    """Build `arch`, freshly initialised from torch's global generator.

    `dropout` precedes the classifier. `drop_path` is the stochastic-depth rate at the end of the network:
    block `i` of `n` drops its branch with probability drop_path * i / n. Both default to the
    architecture's recipe, else 0. `resolution` is what parameters that depend on it are made for (tables
    of relative attention, which any other image size reads interpolated); default: the architecture's
    evaluation resolution.

    Raises:
        ValueError: fewer than one class, a resolution below 1, or a rate that is no probability.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least one")
    resolution = arch.eval_resolution if resolution is None else resolution
    if resolution < 1:
        raise ValueError(f"resolution is {resolution}; an image has at least one pixel")
    recipe = arch.recipe
    dropout = dropout if dropout is not None else recipe.dropout or 0.0
    drop_path = drop_path if drop_path is not None else recipe.drop_path or 0.0
    if not 0.0 <= drop_path < 1.0:
        raise ValueError(f"drop_path is {drop_path}; it must be at least 0 and below 1")
    stem, head = _stem(arch), _head(arch)
    classifier = nn.Linear(arch.head.features, num_classes)
    init_linear(classifier)
    blocks = nn.Sequential(*_layers(arch, drop_path, resolution))
    return Network(stem=stem, blocks=blocks, head=head, dropout=dropout, classifier=classifier)


def _stem(arch: Architecture) -> nn.Module:
    spec, padding = arch.stem, arch.padding
    layers: list[nn.Module] = [
        conv2d(
            arch.input.channels,
            spec.width,
            kernel=spec.kernel,
            stride=spec.stride,
            padding=padding,
            weight=spec.weight,
        ),
        nn.BatchNorm2d(spec.width, arch.norm.eps, arch.norm.momentum),
        activation(spec.act),
    ]
    if spec.depth > 1:
        second = conv2d(
            spec.width, spec.width, kernel=spec.kernel, stride=1, padding=padding, weight=spec.weight
        )
        layers.append(second)
    return nn.Sequential(*layers)


def _head(arch: Architecture) -> nn.Module:
    spec, in_width = arch.head, arch.stages[-1].width
    layers: list[nn.Module] = []
    if spec.form == "convolution":
        layers = [
            conv2d(in_width, spec.width, kernel=1, stride=1, padding=arch.padding, weight=spec.weight),
            nn.BatchNorm2d(spec.width, arch.norm.eps, arch.norm.momentum),
            activation(spec.act),
        ]
    elif spec.linear == "none":
        return PooledHead(in_width, spec.width, spec.act)
    else:
        layers = [PooledHead(in_width, spec.width, spec.act)]
    if spec.linear != "none":
        layers.append(FeatureLayer(spec.width, spec.linear.width, spec.act))
    return nn.Sequential(*layers)


def _layers(arch: Architecture, drop_path: float, resolution: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    in_width, side = arch.stem.width, output_side(resolution, arch.stem.stride)
    for stage in arch.stages:
        side = output_side(side, stage.stride)
        layer_class = _layer_class(stage.block.op)
        for index in range(stage.depth):
            context = LayerContext(
                in_width=in_width,
                width=stage.width,
                stride=stage.stride if index == 0 else 1,
                padding=arch.padding,
                norm_eps=arch.norm.eps,
                norm_momentum=arch.norm.momentum,
                drop_path=drop_path * len(layers) / arch.num_blocks,
                side=side,
            )
            layers.append(layer_class(stage.block, context))
            in_width = stage.width
    return layers


def _layer_class(op: str) -> type[nn.Module]:
    module, _, name = BLOCKS[op].layer.partition(":")
    return cast("type[nn.Module]", getattr(import_module(module), name))
