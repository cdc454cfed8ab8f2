"""Tables of measured networks: a CSV file whose columns are the places of a space's choices, and numbers.

A column is named as the place it gives (`stages[0].block.kernel`); one at which a space has one option only
may be missing. A cell holds the option as the document writes it; for a mapping of one field its value is
enough (`0.25` for `{ratio: 0.25}`), and `0` also says `none`. Every other column is a measured number, empty
where it is missing.
"""

import csv
import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search_spaces.space import Genes, Space

if TYPE_CHECKING:
    from results.run import Run

RATE = re.compile(r"_per_second(?=_|$)")
"""What names a rate, at the end or before a device: `images_per_second`, `images_per_second_a100`."""
TIME = "_ms"

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
"""What a condition on rows may say."""

Floats = npt.NDArray[np.float64]


class TableError(ValueError):
    """A table that cannot be read as networks of the space; the text names file, row and column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """Measured numbers, and of which rows of the table they are."""

    name: str
    values: Floats
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Networks of a space with what was measured of them; `texts` are the cells of the other columns."""

    path: Path
    genes: Genes
    texts: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.genes)

    def column(self, name: str) -> Column:
        """A measured column where it is not empty; a rate comes as milliseconds.

        A rate of r images a second is 1000 / r milliseconds an image, and is named `_ms` for `_per_second`.

        Raises:
            TableError: no such column, a cell that is no finite number, or a rate that is not above 0.
        """
        found = self.written(name)
        if RATE.search(name) is None:
            return found
        slow = np.flatnonzero(found.values <= 0)
        if len(slow):
            raise TableError(f"{self._place(name, found.rows[slow[0]])}: a rate must be above 0")
        as_time = RATE.sub(TIME, name)
        return Column(name=as_time, values=1000.0 / found.values, rows=found.rows)

    def written(self, name: str) -> Column:
        """A measured column as it is written, where it is not empty.

        Raises:
            TableError: no such column, or a cell that is no finite number.
        """
        if name not in self.texts:
            near = difflib.get_close_matches(name, self.texts, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise TableError(f"{self.path}: no column {name!r}; {hint}measured: {', '.join(self.texts)}")
        rows = [row for row, text in enumerate(self.texts[name]) if text.strip()]
        values = np.array([self._number(name, row) for row in rows], dtype=np.float64)
        return Column(name=name, values=values, rows=np.array(rows, dtype=np.int64))

    def _number(self, name: str, row: int) -> float:
        text = self.texts[name][row]
        try:
            value = float(text)
        except ValueError:
            raise TableError(f"{self._place(name, row)}: {text!r} is not a number") from None
        if not math.isfinite(value):
            raise TableError(f"{self._place(name, row)}: {text!r} is not finite; leave unknown cells empty")
        return value

    def _place(self, name: str, row: int) -> str:
        return f"{self.path}: row {row + 1}: {name}"


def read_table(path: str | Path, space: Space, *, drop: Sequence[str] = ()) -> Table:
    """Read a CSV file as networks of `space`.

    `drop` holds conditions on rows to leave out, such as "train_seconds>4500"; a row whose cell is empty
    meets none. Rows that break the space's rules or limits are read: a table is a record, not a proposal.

    Raises:
        OSError: the file cannot be read.
        TableError: a column that is missing or named twice, a cell that is no option, or a condition that
            is none.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = list(csv.reader(file, strict=True)) or [[]]
    except (csv.Error, UnicodeDecodeError) as error:
        raise TableError(f"{path}: not a CSV file in UTF-8: {error}") from error
    _check_shape(path, header, lines)
    texts = {name: tuple(line[index] for line in lines) for index, name in enumerate(header)}
    genes = _genes(path, space, texts, len(lines))
    places = {gene.column for gene in space.genes}
    measured = {name: cells for name, cells in texts.items() if name not in places}
    return _without(Table(path=path, genes=genes, texts=measured), drop)


def table_of_run(run: "Run", space: Space, *, drop: Sequence[str] = ()) -> Table:
    """What a run has measured, as a table: its members of `space`, with accuracy, step time and all else.

    Raises:
        TableError: none of its candidates is a member of `space`, or a condition that is none.
    """
    from search_spaces.document import architecture_from_document

    rows = [each for each in run.candidates() if each.is_measured]
    archs = [architecture_from_document(each.architecture) for each in rows]
    members = [(each, arch) for each, arch in zip(rows, archs, strict=True) if space.contains(arch)]
    if not members:
        raise TableError(
            f"{run.path}: none of its {len(rows)} measured candidates is a member of {space.name}; "
            "name the run's space"
        )
    names = dict.fromkeys(name for each, _ in members for name in each.metrics)
    texts = {
        name: tuple("" if (value := each.value(name)) is None else repr(value) for each, _ in members)
        for name in names
    }
    genes = np.stack([space.encode(arch) for _, arch in members])
    return _without(Table(path=run.path, genes=genes, texts=texts), drop)


def _check_shape(path: Path, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    if not lines:
        raise TableError(f"{path}: no rows; the first line names columns, each further one is a network")
    for name in header:
        if header.count(name) > 1:
            raise TableError(f"{path}: column {name!r} is there twice; rename or remove one")
    for row, line in enumerate(lines):
        if len(line) != len(header):
            raise TableError(f"{path}: row {row + 1} has {len(line)} cells, the header has {len(header)}")


def _without(table: Table, conditions: Sequence[str]) -> Table:
    """The rows that meet none of the conditions; the numbers are those of the file, rates as rates."""
    is_kept = np.ones(len(table), dtype=bool)
    for condition in conditions:
        parsed = re.fullmatch(r"\s*(.+?)\s*(<=|>=|<|>|==)\s*([^<>=]+?)\s*", condition)
        if parsed is None or not _is_number(parsed[3]):
            raise TableError(
                f"{condition!r} is no condition; write COLUMN, one of < <= > >= ==, and a number"
            )
        name, sign, bound = parsed[1], parsed[2], float(parsed[3])
        column = table.written(name)
        is_kept[column.rows[COMPARISONS[sign](column.values, bound)]] = False
    if not is_kept.any():
        raise TableError(f"{table.path}: no row is left after dropping {'; '.join(conditions)}")
    kept = np.flatnonzero(is_kept)
    texts = {name: tuple(cells[row] for row in kept) for name, cells in table.texts.items()}
    return Table(path=table.path, genes=table.genes[kept], texts=texts)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _genes(path: Path, space: Space, texts: Mapping[str, tuple[str, ...]], count: int) -> Genes:
    """Genotypes; options are looked up by place, then the genes that nothing present reads are set to -1."""
    genes = np.zeros((count, len(space.genes)), dtype=np.int64)
    is_known = np.zeros(genes.shape, dtype=bool)
    for index, gene in enumerate(space.genes):
        if gene.column not in texts:
            is_known[:, index] = len(gene.labels) == 1
            continue
        spellings = _spellings(gene.labels)
        options = {text: spellings.get(_plain(text)) for text in set(texts[gene.column])}
        found = [options[text] for text in texts[gene.column]]
        is_known[:, index] = [option is not None for option in found]
        genes[:, index] = [option or 0 for option in found]
    active = space.active(genes)
    for row, index in np.argwhere(active & ~is_known):
        gene = space.genes[index]
        if gene.column not in texts:
            raise TableError(f"{path}: no column {gene.column!r}, a choice of the space {space.name}")
        raise TableError(
            f"{path}: row {row + 1}: {gene.column}: {texts[gene.column][row]!r} is no option of {space.name};"
            f" there are {', '.join(gene.labels)}"
        )
    genes[~active] = -1
    return genes


def _spellings(labels: Sequence[str]) -> dict[str, int]:
    """How a cell may say each option: its label, the value of a mapping's only field, 0 for none.

    A label always wins over a shorter spelling, and a short one that two options share says neither.
    """
    short: dict[str, list[int]] = {}
    for option, label in enumerate(labels):
        if label.startswith("{") and label.count(":") == 1:
            short.setdefault(_plain(label[1:-1].partition(":")[2]), []).append(option)
        if label == "none":
            short.setdefault("0", []).append(option)
    unique = {text: options[0] for text, options in short.items() if len(options) == 1}
    return unique | {_plain(label): option for option, label in enumerate(labels)}


def _plain(text: str) -> str:
    """Numbers in their shortest form, so that 3, 3.0 and 3e0 are one spelling; other text as it is."""
    text = text.strip()
    try:
        return f"{float(text):.12g}"
    except ValueError:
        return text
