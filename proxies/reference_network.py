"""The fixed network that every step time is measured against.

Small enough to cost little beside any candidate, and with the ingredients of all of them: dense and depthwise
convolutions, squeeze-and-excitation, wide maps and narrow ones. It must never change: ratios to it are what
measurements of different days have in common. Its digest is checked by a test.
"""

from search_spaces.architecture import Architecture, Head, Stage, Stem
from search_spaces.blocks.fused_mbconv import FusedMBConv
from search_spaces.blocks.mbconv import MBConv
from search_spaces.blocks.squeeze_excite import SqueezeExcite

_SE = SqueezeExcite(ratio=0.25)

REFERENCE = Architecture(
    name="timing-reference-1",
    stem=Stem(width=24),
    stages=(
        Stage(stride=1, depth=1, width=24, block=FusedMBConv(expand=1)),
        Stage(stride=2, depth=2, width=32, block=FusedMBConv(expand=4)),
        Stage(stride=2, depth=2, width=48, block=FusedMBConv(expand=4)),
        Stage(stride=2, depth=2, width=96, block=MBConv(expand=4, se=_SE)),
        Stage(stride=2, depth=2, width=160, block=MBConv(expand=4, se=_SE)),
    ),
    head=Head(width=640),
)
