"""A network as timm's block strings and the call that builds it there, where timm can express it.

Source: timm's EfficientNetBuilder (`timm/models/_efficientnet_builder.py`, `_efficientnet_blocks.py`): how a
string is read, which widths are rounded (`make_divisible`, to multiples of 8), and that a
squeeze-and-excitation has round(hidden * (ratio / expand)) channels.
"""

from nas.errors import ExportError
from search_spaces.architecture import Architecture, Stage, spec_document
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.squeeze_excite import SqueezeExcite
from search_spaces.seal import seal
from search_spaces.spec import Spec

ACTIVATIONS = {"silu": "sw", "relu": "re", "hard_swish": "hs"}
LAYERS = {"silu": "nn.SiLU", "relu": "nn.ReLU", "hard_swish": "nn.Hardswish", "gelu": "nn.GELU"}
MAX_STRIDES = 5
"""timm turns strides past a total of 32 into dilations."""

_TEXT = '''"""{name} for timm, as block strings. Digest: {digest}.

    network = build(num_classes=1000)

{params:,} parameters with 1,000 classes; initialisation and dropped paths are timm's.
"""

from functools import partial

from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet
from torch import nn

DIGEST = "{digest}"
ARCH_DEF = [
{strings}]


def build(num_classes=1000, **arguments):
    """The network as timm builds it; further arguments are those of timm's EfficientNet."""
    return EfficientNet(
        block_args=decode_arch_def(ARCH_DEF),
        num_classes=num_classes,
        in_chans={channels},
        stem_size={stem},
        fix_stem=True,
        num_features={head},
        pad_type="{padding}",
        act_layer={act},
        norm_layer=partial(nn.BatchNorm2d, eps={eps!r}, momentum={momentum!r}),
        round_chs_fn=int,
        **arguments,
    )
'''


def timm_text(arch: Architecture, *, name: str, params: int) -> str:
    """A Python module that builds the network with timm.

    Raises:
        ExportError: timm's strings cannot express it; the first thing that stands against it is named.
    """
    strings = timm_strings(arch)
    return seal(
        _TEXT.format(
            name=name,
            digest=arch.digest,
            params=params,
            strings="".join(f'    ["{each}"],\n' for each in strings),
            channels=arch.input.channels,
            stem=arch.stem.width,
            head=arch.head.width,
            padding="same" if arch.padding == "same" else "",
            act=LAYERS[arch.stem.act],
            eps=arch.norm.eps,
            momentum=arch.norm.momentum,
        )
    )


def timm_strings(arch: Architecture) -> list[str]:
    """One block string for each run of equal blocks, such as "ir_r2_k3_s2_e4_c48_se0.25".

    Raises:
        ExportError: timm's strings cannot express the network; the first reason is named.
    """
    _check_ends(arch)
    strings, in_width = [], arch.stem.width
    for index, stage in enumerate(arch.stages):
        strings.append(_string(arch, index, stage, in_width))
        in_width = stage.width
    return strings


def _check_ends(arch: Architecture) -> None:
    stem, head = arch.stem, arch.head
    _check_fields(stem, {"width", "kernel", "stride", "act", "depth"}, "stem")
    _check_fields(head, {"width", "act", "form"}, "head")
    if stem.kernel != 3 or stem.stride != 2 or stem.depth != 1:
        raise _refused(
            f"the stem is {stem.depth} convolution(s) of kernel {stem.kernel}, stride {stem.stride};"
            " timm's is one of kernel 3, stride 2"
        )
    if head.form != "convolution":
        raise _refused(f"the head is {head.form!r}; timm's is a convolution")
    if head.act != stem.act:
        raise _refused(f"the stem's activation is {stem.act} and the head's {head.act}; timm has one")
    if sum(stage.stride == 2 for stage in arch.stages) + 1 > MAX_STRIDES:
        raise _refused(f"it has more than {MAX_STRIDES} strides, and timm makes the later ones dilations")


def _string(arch: Architecture, index: int, stage: Stage, in_width: int) -> str:
    block, place = stage.block, f"stages[{index}]"
    if isinstance(block, MBConv | FusedMBConv):
        _check_fields(block, {"op", "kernel", "expand", "se", "act"}, f"{place}.block")
    if not isinstance(block, MBConv | FusedMBConv):
        raise _refused(f"{place}: timm's EfficientNet has no block {block.op}")
    shape = f"r{stage.depth}_k{block.kernel}_s{stage.stride}"
    act = "" if block.act == arch.stem.act else f"_n{_activation(block.act, place)}"
    if isinstance(block, FusedMBConv) and block.expand == 1:
        return f"cn_{shape}_e1_c{stage.width}_skip{act}"
    if block.expand != 1:
        _check_hidden(stage, in_width, block.expand, place)
    se = ""
    if block.se != "none":
        # A string's ratio is of the block's input; a ratio of the expanded width is larger by the expansion.
        ratio = block.se.ratio * (block.expand if block.se.source == "expanded" else 1)
        _check_reduced(stage, in_width, block.se, block.expand, ratio=float(f"{ratio:g}"), place=place)
        se = f"_se{ratio:g}"
    kind = "er" if isinstance(block, FusedMBConv) else "ir" if block.expand != 1 else "ds"
    return f"{kind}_{shape}_e{block.expand}_c{stage.width}{se}{act}"


def _activation(name: str, place: str) -> str:
    if name not in ACTIVATIONS:
        raise _refused(f"{place}: timm's strings have no {name} beside another activation")
    return ACTIVATIONS[name]


def _widths_in(stage: Stage, in_width: int) -> set[int]:
    """The input widths of a run's blocks."""
    return {in_width} if stage.depth == 1 else {in_width, stage.width}


def _check_hidden(stage: Stage, in_width: int, expand: int, place: str) -> None:
    for width in _widths_in(stage, in_width):
        if width * expand % 8:
            raise _refused(
                f"{place}: {width} channels expanded by {expand} are {width * expand},"
                " which timm rounds to a multiple of 8"
            )


def _check_reduced(
    stage: Stage, in_width: int, se: SqueezeExcite, expand: int, *, ratio: float, place: str
) -> None:
    for width in _widths_in(stage, in_width):
        hidden = width * expand
        theirs = round(hidden * (ratio / expand))
        ours = se.reduced_width(width, hidden)
        if theirs != ours:
            raise _refused(
                f"{place}: squeeze-and-excitation by {se.ratio:g} of {width} channels has {ours},"
                f" and timm's {theirs}"
            )


def _check_fields(spec: Spec, known: set[str], place: str) -> None:
    """Refuse what a specification says beyond the fields that are written."""
    for name, value in spec_document(spec, complete=False).items():
        if name not in known:
            raise _refused(f"{place}.{name} is {value!r}, which timm does not have")


def _refused(reason: str) -> ExportError:
    return ExportError(f"timm's block strings cannot express this network: {reason}; export --format torch")
