"""Which neighbouring runs of a space can be equal, so that two genotypes make one architecture."""

from search_spaces.matching import Slot
from search_spaces.tree import Const, Pick, Record, Tree, overlap


def coinciding_runs(slots: tuple[Slot, ...]) -> tuple[tuple[str, str], ...]:
    """Pairs of runs that can merge: nothing that takes a stride or must be present lies between them.

    Overlap of the trees is tested with shared choices taken as free, so a pair may be named that never
    coincides; one that can coincide is never left out.
    """
    pairs = []
    for index, first in enumerate(slots):
        for second in slots[index + 1 :]:
            starts_stage = second.stage != slots[second.slot - 1].stage
            if starts_stage and second.stride != 1:
                break
            if _may_be_equal(first.tree, second.tree):
                pairs.append((first.path, second.path))
            if not _may_be_absent(second.tree):
                break
    return tuple(pairs)


def _may_be_equal(first: Tree, second: Tree) -> bool:
    return any(
        overlap(one.get("width"), other.get("width")) and overlap(one.get("block"), other.get("block"))
        for one in _records(first)
        for other in _records(second)
    )


def _may_be_absent(tree: Tree) -> bool:
    return any(overlap(record.get("depth"), Const(0)) for record in _records(tree))


def _records(tree: Tree) -> list[Record]:
    if isinstance(tree, Record):
        return [tree]
    return (
        [record for option in tree.options for record in _records(option)] if isinstance(tree, Pick) else []
    )
