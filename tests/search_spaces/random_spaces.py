"""Random small spaces as documents, and what they hold by brute force.

`space_documents` writes documents: nested choices, shared choices and bundles, menus, several runs a stage,
absent runs, integer ranges, choices between whole runs, rules. `expand` reads such a document a second time,
without anything of `search_spaces`: it writes out every document that some sequence of choices makes.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

Document = dict[str, Any]
MAX_GENOTYPES = 600


# --- documents ------------------------------------------------------------------------------------------


@st.composite
def scalar_choice(draw: st.DrawFn, values: list[Any]) -> Any:
    """One of the values, or a choice between some of them, flat or nested."""
    first, *others = draw(st.permutations(values))
    kind = draw(st.sampled_from(["value", "value", "value", "single", "flat", "flat", "nested"]))
    if kind == "value":
        return first
    if kind == "single":
        return {"one_of": [first]}
    if kind == "flat" or len(others) < 2:
        return {"one_of": [first, others[0]]}
    return {"one_of": [first, {"one_of": others[:2]}]}


def depths(low: int) -> st.SearchStrategy[Any]:
    ranges = [
        {"int": [low, low + 1]},
        {"int": [low, low + 2, 2]},
        {"one_of": [low + 1, low]},
        {"one_of": [low, {"int": [low + 1, low + 2]}]},
    ]
    return st.sampled_from([max(low, 1), 2, *ranges])


def squeeze() -> st.SearchStrategy[Any]:
    ratio = {"ratio": 0.25}
    taken = {"ratio": 0.25, "from": {"one_of": ["input", "expanded"]}}
    return st.sampled_from(["none", ratio, taken, {"one_of": ["none", ratio]}, {"one_of": ["none", taken]}])


@st.composite
def one_block(draw: st.DrawFn, op: str, refs: Mapping[str, list[str]]) -> Document:
    document: Document = {"op": op, "expand": draw(scalar_choice([1, 2]))}
    if draw(st.integers(0, 2)) == 2:
        document["kernel"] = draw(scalar_choice([1, 3, 5]))
    if draw(st.integers(0, 2)) == 2:
        document["se"] = draw(squeeze())
    if refs["act"] and draw(st.booleans()):
        document["act"] = {"ref": draw(st.sampled_from(refs["act"]))}
    return document


@st.composite
def blocks(draw: st.DrawFn, refs: Mapping[str, list[str]], *, may_use: bool = True) -> Any:
    if may_use and draw(st.integers(0, 2)) == 2:
        return {"use": "block"}
    ops = draw(st.sampled_from([("mbconv",), ("fused_mbconv",), ("fused_mbconv", "mbconv")]))
    options = [draw(one_block(op, refs)) for op in ops]
    return options[0] if len(options) == 1 else {"one_of": options}


@st.composite
def runs(draw: st.DrawFn, refs: Mapping[str, list[str]], low: int) -> Document:
    width = draw(scalar_choice([4, 8]))
    if refs["width"] and draw(st.booleans()):
        width = {"ref": draw(st.sampled_from(refs["width"]))}
    return {"depth": draw(depths(low)), "width": width, "block": draw(blocks(refs))}


@st.composite
def stages(draw: st.DrawFn, refs: Mapping[str, list[str]]) -> Document:
    stride = draw(st.sampled_from([1, 2]))
    form = draw(st.sampled_from(["plain", "plain", "runs", "runs", "choice"]))
    if form == "plain":
        return {"stride": stride, **draw(runs(refs, draw(st.integers(stride - 1, 1))))}
    if form == "runs":
        return {"stride": stride, "runs": [draw(runs(refs, draw(st.integers(0, 1)))) for _ in range(2)]}
    options = [draw(runs(refs, stride - 1)), draw(runs(refs, 1))]
    for option, width in zip(options, (4, 8), strict=True):
        option["width"] = width
    return {"stride": stride, "runs": [{"one_of": options}]}


@st.composite
def rules(draw: st.DrawFn) -> list[Document]:
    candidates = [
        {"monotone": "block.op", "order": ["fused_mbconv", "mbconv"]},
        {"monotone": "block.op", "order": ["mbconv"], "free": ["fused_mbconv"]},
        {"monotone": "width", "order": [8, 4]},
        {"increasing": "width"},
        {"increasing": "block.expand", "strict": True},
        {"increasing": "depth"},
        {"forbid": {"block.op": "mbconv", "block.expand": 1}},
        {"forbid": {"width": 8}, "stages": [0]},
        {"forbid": {"block.se": "none"}},
        {"forbid": {"block.se.ratio": 0.25, "block.kernel": 3}},
    ]
    return draw(st.lists(st.sampled_from(candidates), max_size=2, unique_by=str))


@st.composite
def space_documents(draw: st.DrawFn, *, with_rules: bool = True) -> Document:
    """A space document of at most MAX_GENOTYPES genotypes, rules not counted."""
    named: Document = {
        "act": {"one_of": ["silu", {"one_of": ["relu", "gelu"]}]},
        "w": {"one_of": [{"a": 4, "b": 8}, {"a": 8, "b": {"one_of": [4, 12]}}]},
    }
    refs = {
        "act": draw(st.sampled_from([[], ["act"]])),
        "width": draw(st.sampled_from([[], ["w.a"], ["w.a", "w.b"]])),
    }
    document: Document = {
        "schema": "nas.space/1",
        "name": "random",
        "stem": {"width": draw(scalar_choice([4, 8])), "stride": draw(st.sampled_from([1, 2]))},
        "stages": [draw(stages(refs)) for _ in range(draw(st.sampled_from([1, 2, 2, 3, 3])))],
        "head": {"width": 8},
        "menus": {"block": draw(blocks(refs, may_use=False))},
        "choices": named,
    }
    if draw(st.booleans()):
        document["padding"] = {"one_of": ["same", "symmetric"]}
    document = without_unused_names(document)
    count = 0
    for _ in expand(document):
        count += 1
        assume(count <= MAX_GENOTYPES)
    assume(count > 0)
    if with_rules:
        document["rules"] = draw(rules())
    return document


def without_unused_names(document: Document) -> Document:
    """The document without the menus and choices that nothing refers to, which are errors."""
    parts = [document["stages"]]
    kept = {key: value for key, value in document.items() if key not in {"menus", "choices"}}
    if "block" in _names(parts, "use"):
        kept["menus"] = document["menus"]
        parts.append(document["menus"]["block"])
    used = {name.partition(".")[0] for name in _names(parts, "ref")}
    return {**kept, "choices": {name: node for name, node in document["choices"].items() if name in used}}


def _names(node: Any, key: str) -> set[str]:
    if isinstance(node, dict):
        found = set().union(*(_names(value, key) for value in node.values())) if node else set()
        return found | ({node[key]} if isinstance(node.get(key), str) else set())
    return set().union(*(_names(item, key) for item in node)) if isinstance(node, list) and node else set()


# --- brute force ------------------------------------------------------------------------------------------

Shared = dict[tuple[Any, ...], int]
CHOICES = {"one_of", "int", "ref", "use"}


def expand(document: Document) -> Iterator[Document]:
    """The architecture document of every genotype, rules aside: one for each sequence of choices.

    Runs stay as written (`runs` of each stage, absent ones left out), so that rules can be checked on them.
    """
    kept = {key: document[key] for key in ("input", "stem", "head", "padding", "norm") if key in document}
    for fixed, shared in every_value(kept, {}, document):
        for built, _ in _stages(document["stages"], shared, document):
            if any(run["depth"] for stage in built for run in stage["runs"]):
                yield {"schema": "nas.architecture/1", **fixed, "stages": built}


def _stages(nodes: list[Any], shared: Shared, document: Document) -> Iterator[tuple[list[Document], Shared]]:
    if not nodes:
        yield [], shared
        return
    first, *rest = nodes
    stride = first.get("stride", 1)
    written = first["runs"] if "runs" in first else [{key: first[key] for key in ("depth", "width", "block")}]
    for built, after in _runs(written, shared, document):
        if stride == 2 and not any(run["depth"] for run in built):
            continue
        for others, end in _stages(rest, after, document):
            yield [{"stride": stride, "runs": built}, *others], end


def _runs(nodes: list[Any], shared: Shared, document: Document) -> Iterator[tuple[list[Document], Shared]]:
    if not nodes:
        yield [], shared
        return
    for run, after in _one_run(nodes[0], shared, document):
        for others, end in _runs(nodes[1:], after, document):
            yield [run, *others], end


def _one_run(node: Any, shared: Shared, document: Document) -> Iterator[tuple[Document, Shared]]:
    if "one_of" in node:
        for option in node["one_of"]:
            yield from _one_run(option, shared, document)
        return
    for depth, after in every_value(node["depth"], shared, document):
        if depth == 0:
            yield {"depth": 0, "width": 1, "block": {"op": "mbconv", "expand": 1}}, after
            continue
        rest = {key: node[key] for key in ("width", "block")}
        for value, end in every_value(rest, after, document):
            yield {"depth": depth, **value}, end


def every_value(node: Any, shared: Shared, document: Document) -> Iterator[tuple[Any, Shared]]:
    """Every value of a node, with the shared choices made on the way."""
    if isinstance(node, dict) and len(node) == 1 and set(node) <= CHOICES:
        ((key, argument),) = node.items()
        if key == "one_of":
            for option in argument:
                yield from every_value(option, shared, document)
        elif key == "int":
            low, high, *step = argument
            for value in range(low, high + 1, *step):
                yield value, shared
        elif key == "use":
            yield from every_value(document["menus"][argument], shared, document)
        else:
            name, *fields = argument.split(".")
            yield from _shared(document["choices"][name], fields, (name,), shared, document)
    elif isinstance(node, dict):
        yield from _mapping(list(node.items()), shared, document)
    else:
        yield node, shared


def _mapping(items: list[Any], shared: Shared, document: Document) -> Iterator[tuple[Any, Shared]]:
    if not items:
        yield {}, shared
        return
    (key, node), *rest = items
    for value, after in every_value(node, shared, document):
        for others, end in _mapping(rest, after, document):
            yield {key: value, **others}, end


def _shared(
    node: Any, fields: list[str], place: tuple[Any, ...], shared: Shared, document: Document
) -> Iterator[tuple[Any, Shared]]:
    """The value of a named choice: made once, wherever it is first needed."""
    if isinstance(node, dict) and "one_of" in node:
        for index, option in enumerate(node["one_of"]):
            if shared.get(place, index) == index:
                yield from _shared(option, fields, (*place, index), {**shared, place: index}, document)
    elif fields:
        yield from _shared(node[fields[0]], fields[1:], (*place, fields[0]), shared, document)
    else:
        yield from every_value(node, shared, document)


def obeys(architecture: Document, rules: list[Document]) -> bool:
    """Whether the present runs of an expanded document obey the rules, read naively."""
    present = [
        (index, {"depth": run["depth"], "width": run["width"], **_flat(run["block"], "block")})
        for index, stage in enumerate(architecture["stages"])
        for run in stage["runs"]
        if run["depth"]
    ]
    return all(_obeys(present, rule) for rule in rules)


def _flat(block: Document, prefix: str) -> Document:
    defaults = {"kernel": 3, "se": "none", "act": "silu"}
    flat: Document = {}
    for key, value in {**defaults, **block}.items():
        flat[f"{prefix}.{key}"] = value if not isinstance(value, dict) else "(mapping)"
        if isinstance(value, dict):
            flat.update({f"{prefix}.{key}.{inner}": scalar for inner, scalar in value.items()})
    return flat


def _obeys(present: list[tuple[int, Document]], rule: Document) -> bool:
    if "forbid" in rule:
        return not any(
            all(run.get(field) == value for field, value in rule["forbid"].items())
            for stage, run in present
            if stage in rule.get("stages", [stage])
        )
    field = rule.get("monotone") or rule["increasing"]
    values = [run[field] for _, run in present if field in run and run[field] not in rule.get("free", [])]
    if "monotone" in rule:
        values = [rule["order"].index(value) for value in values]
    pairs = itertools.pairwise(values)
    return all(second > first if rule.get("strict") else second >= first for first, second in pairs)
