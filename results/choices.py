"""What was chosen in each network, place by place: `stages[2].block.kernel` is 5 in candidate 17."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from results.candidate import CandidateResult
from search_spaces.document import DocumentError, architecture_from_document

if TYPE_CHECKING:
    from search_spaces.space import Space

_ABOUT = ("schema", "name", "notes", "recipe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The options of N networks by place; None where a network has no such place.

    `options` lists what occurs at each place, in the order of the space, else of size or alphabet.
    `is_of_space` says whether places are a space's choices; else they are fields of the documents, whose
    numbers of stages shift where a stage is absent.
    """

    columns: Mapping[str, tuple[str | None, ...]]
    options: Mapping[str, tuple[str, ...]]
    is_of_space: bool

    def codes(self, column: str) -> list[int]:
        """Each network's option as its position among the options, -1 where it has none."""
        positions: dict[str | None, int] = {text: code for code, text in enumerate(self.options[column])}
        return [positions.get(text, -1) for text in self.columns[column]]


def load_searched_space(config: Mapping[str, Any]) -> "Space | None":
    """The space that a run searched, where it can be loaded here by the name that the run has for it."""
    from search_spaces.space_document import load_space

    name = (config.get("config") or {}).get("space")
    if not isinstance(name, str):
        return None
    try:
        return load_space(name)
    except DocumentError:
        return None


def choices(results: Sequence[CandidateResult], space: "Space | None") -> Choices:
    """The choices by which these candidates differ; places where all agree are left out.

    Without a space, or where a candidate is not in it, they are read off the documents.
    """
    found = None if space is None else _of_space(results, space)
    columns = _of_documents(results) if found is None else found
    order = {} if found is None or space is None else _space_order(space)
    differing = {name: cells for name, cells in columns.items() if len(set(cells)) > 1}
    return Choices(
        columns=differing,
        options={name: _ordered(cells, order.get(name, ())) for name, cells in differing.items()},
        is_of_space=found is not None,
    )


def _of_space(results: Sequence[CandidateResult], space: "Space") -> dict[str, tuple[str | None, ...]] | None:
    free = space.without_limits()
    rows = []
    for result in results:
        try:
            genes = free.encode(architecture_from_document(result.architecture)).tolist()
        except ValueError:  # not a member: the space has changed, or it is not the one that was searched
            return None
        cells = {}
        for gene, value in zip(free.genes, genes, strict=True):
            if value >= 0:
                cells[gene.column] = gene.labels[value]
        rows.append(cells)
    names = dict.fromkeys(gene.column for gene in free.genes)
    return {name: tuple(row.get(name) for row in rows) for name in names}


def _space_order(space: "Space") -> dict[str, tuple[str, ...]]:
    order: dict[str, dict[str, None]] = {}
    for gene in space.genes:
        order.setdefault(gene.column, {}).update(dict.fromkeys(gene.labels))
    return {column: tuple(labels) for column, labels in order.items()}


def _of_documents(results: Sequence[CandidateResult]) -> dict[str, tuple[str | None, ...]]:
    rows = []
    for result in results:
        document = result.architecture
        rows.append(dict(_leaves({key: document[key] for key in document if key not in _ABOUT}, "")))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: tuple(row.get(name) for row in rows) for name in names}


def _leaves(value: Any, place: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        parts = [(f"{place}.{key}".lstrip("."), part) for key, part in value.items()]
    elif isinstance(value, list):
        parts = [(f"{place}[{index}]", part) for index, part in enumerate(value)]
    else:
        return [(place, str(value))]
    return [leaf for name, part in parts for leaf in _leaves(part, name)]


def _ordered(cells: Sequence[str | None], known: Sequence[str]) -> tuple[str, ...]:
    seen = {cell for cell in cells if cell is not None}
    if seen <= set(known):
        return tuple(text for text in known if text in seen)

    def size(text: str) -> tuple[bool, float, str]:
        try:
            return False, float(text), text
        except ValueError:
            return True, 0.0, text

    return tuple(sorted(seen, key=size))
