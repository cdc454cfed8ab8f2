"""Networks of a report: their YAML in fragments, and their parts with what each costs.

Networks of one space are made of the same lines and the same stages again and again, so both are pooled.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from results.candidate import CandidateResult
from results.report.pool import Pool
from search_spaces.architecture import Architecture, Stage, head_cost, spec_document, stage_cost, stem_cost
from search_spaces.cost import Cost
from search_spaces.document import architecture_from_document
from search_spaces.nodes import DocumentError
from search_spaces.text import dump

NUM_CLASSES = 1000
"""Candidates' costs are stated for this many classes."""

PART_FIELDS = (
    "op",
    "settings",
    "depth",
    "width",
    "stride",
    "side",
    "params",
    "macs",
    "activation_bytes",
)
"""What a part is described by; `side` is that of its output, in pixels."""

Part = tuple[str, str, int, int, int, int, int, int, int]
StagePart = Callable[[Stage, int, int, str], tuple[Part, int]]


class Networks:
    """Collects networks; `texts` and `parts` are what they are made of."""

    def __init__(self) -> None:
        self.texts: Pool[str] = Pool()
        self.parts: Pool[Part] = Pool()
        # Writing YAML is slow, and costs are not free: each distinct line and stage is made once.
        self._text = cache(_text)
        self._stage_part = cache(_stage_part)

    def yaml(self, result: CandidateResult, *, name: str, run: str) -> list[int]:
        """Fragments that make up the architecture document, with its provenance under `provenance`.

        It is read wherever an architecture is, to the same digest.
        """
        document = result.architecture
        document.setdefault("name", name)
        ordered = {
            key: document.pop(key) for key in ("schema", "name", "notes") if key in document
        } | document
        fragments = []
        for key, value in ordered.items():
            if key == "stages":
                stages = (self._text("stages", json.dumps([stage])) for stage in value)
                fragments += ["stages:\n", *(text.removeprefix("stages:\n") for text in stages)]
            else:
                fragments.append(self._text(key, json.dumps(value)))
        fragments.append(self._text("provenance", json.dumps({"run": run})))
        fragments.append(f'  candidate: {result.id}\n  digest: "{result.digest}"\n')
        return [self.texts.place(fragment) for fragment in fragments]

    def anatomy(self, result: CandidateResult) -> list[int] | None:
        """Parts from stem to head; None where the architecture cannot be read here (a plug-in's block)."""
        try:
            arch = architecture_from_document(result.architecture)
        except (DocumentError, ValueError):
            return None
        made = parts(arch, result.resolution, stage_part=self._stage_part)
        return [self.parts.place(part) for part in made]


def _text(key: str, value_json: str) -> str:
    return dump({key: json.loads(value_json)})


def _stage_part(stage: Stage, in_width: int, side: int, padding: str) -> tuple[Part, int]:
    found, side = stage_cost(stage, in_width, side, padding)
    block = spec_document(stage.block, complete=True)
    op = str(block.pop("op"))
    return _part(op, _settings(block), (stage.depth, stage.width, stage.stride, side), found), side


def parts(arch: Architecture, side: int, *, stage_part: StagePart = _stage_part) -> list[Part]:
    """Stem, stages and head with their exact costs for one image of `side` pixels; they add up to `cost`."""
    stem, width = arch.stem, arch.stem.width
    found, side = stem_cost(stem, arch.input.channels, side, arch.padding)
    settings = f"kernel {stem.kernel}, {stem.act}" + (
        f", {stem.depth} convolutions" if stem.depth > 1 else ""
    )
    made = [_part("stem", settings, (1, width, stem.stride, side), found)]
    for stage in arch.stages:
        part, side = stage_part(stage, width, side, arch.padding)
        made.append(part)
        width = stage.width
    found = head_cost(arch.head, width, side, NUM_CLASSES)
    settings = f"{arch.head.act}, {NUM_CLASSES} classes"
    return [*made, _part("head", settings, (1, arch.head.width, 1, 1), found)]


def _part(op: str, settings: str, shape: tuple[int, int, int, int], found: Cost) -> Part:
    return (op, settings, *shape, found.params, found.macs, found.activation_bytes)


def _settings(document: Mapping[str, Any], prefix: str = "") -> str:
    """`kernel 3, expand 4, se.ratio 0.25`."""
    return ", ".join(
        _settings(value, f"{prefix}{key}.") if isinstance(value, Mapping) else f"{prefix}{key} {value}"
        for key, value in document.items()
    )
