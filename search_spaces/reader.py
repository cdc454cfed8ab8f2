"""The schema-directed walk: from nodes to a typed tree, with every problem found on the way.

Each option of a choice is checked at its own mark. A shared choice has no type of its own: its options are
checked where they are used, by what that place expects, and reported where they are written.
"""

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from search_spaces.choice import CHOICE_KEYS
from search_spaces.messages import explain_error, label, option_labels, suggest
from search_spaces.nodes import Fields, Items, Mark, Node, Problem, Scalar, shorten, to_python
from search_spaces.schema import MISSING, FieldType, Leaf, LeafOrRecord, RecordType, Tagged, Type
from search_spaces.tree import Budget, Const, Gene, Pick, Record, TooManyComparisonsError, Tree, first_overlap

MAX_OPTIONS = 10_000
MAX_VALUES = 100_000
"""Values read in all, menus and shared choices counted at each of their uses."""
MAX_NESTING = 64
"""Levels of values, menus and shared choices followed."""
MAX_COMPARISONS = 200_000


class Reader:
    """Reads one document. Problems are collected, never raised; a tree with a problem in it is None."""

    def __init__(
        self, *, choices: Fields | None = None, menus: Fields | None = None, allow_choices: bool = True
    ) -> None:
        self.problems: list[Problem] = []
        self.genes: list[Gene] = []
        self.used_choices: set[str] = set()
        self.used_menus: set[str] = set()
        self._choices = dict(choices.fields) if choices else {}
        self._menus = dict(menus.fields) if menus else {}
        self._allow_choices = allow_choices
        self._gene_by_site: dict[str, int] = {}
        self._labels: dict[int, tuple[str, ...]] = {}
        self._compared: set[tuple[int, int]] = set()
        self._budget = Budget(MAX_COMPARISONS)
        self._open_names: list[str] = []
        self._sharing = False
        self._num_values = 0
        self._nesting = 0

    def report(self, mark: Mark, path: str, message: str) -> None:
        """Note a problem and go on."""
        self.problems.append(Problem(mark, path, message))

    def read(self, node: Node, type_: Type, path: str, site: str | None = None) -> Tree | None:
        """The typed tree of `node`, or None when something in it is wrong (and reported).

        `path` is the place in the document that options share; `site` also names the options on the way.
        """
        if not self._is_within_bounds(node, path):
            return None
        self._nesting += 1
        tree = self._read(node, type_, path, site if site is not None else path)
        self._nesting -= 1
        return tree

    def _is_within_bounds(self, node: Node, path: str) -> bool:
        """Whether the document is still small with its menus written out; reports once when it is not."""
        self._num_values += 1
        if self._nesting > MAX_NESTING:
            self.report(
                node.mark, path, f"nested deeper than {MAX_NESTING} levels, menus and choices included"
            )
            return False
        if self._num_values == MAX_VALUES + 1:
            self.report(
                node.mark, path, f"more than {MAX_VALUES:,} values once menus and choices are written out"
            )
        return self._num_values <= MAX_VALUES

    def _read(self, node: Node, type_: Type, path: str, site: str) -> Tree | None:
        key = choice_key(node)
        if key is not None:
            return self._choice(node, key, type_, path, site)
        stray = next((name for name in CHOICE_KEYS if isinstance(node, Fields) and node.get(name)), None)
        if stray is not None and isinstance(node, Fields):
            message = f"a choice is a mapping with the one key {stray!r}; give its other keys to the options"
            self.report(node.key_marks[stray], path, message)
            return None
        if isinstance(type_, Leaf):
            return self._leaf(node, type_, path)
        if isinstance(type_, LeafOrRecord):
            if isinstance(node, Fields):
                return self._read(node, type_.record, path, site)
            return self._leaf(node, type_.leaf, path, also=type_.record)
        if isinstance(type_, Tagged):
            return self._tagged(node, type_, path, site)
        return self._record(node, type_, path, site)

    # --- choices ---------------------------------------------------------------------------------------

    def _choice(self, node: Node, key: str, type_: Type, path: str, site: str) -> Tree | None:
        assert isinstance(node, Fields)
        if not self._allow_choices:
            self.report(
                node.mark, path, f"a choice ({key}) in an architecture; a document with choices is a space"
            )
            return None
        argument = node.fields[0][1]
        if key == "one_of":
            return self._one_of(argument, type_, path, site)
        if key == "int":
            return self._int_range(argument, type_, path, site)
        if key == "ref":
            return self._ref(argument, type_, path)
        return self._use(argument, type_, path, site)

    def _one_of(self, node: Node, type_: Type, path: str, site: str) -> Tree | None:
        if not isinstance(node, Items) or not node.items:
            self.report(node.mark, path, "one_of needs a list of at least one option")
            return None
        if len(node.items) > MAX_OPTIONS:
            self.report(node.mark, path, f"{len(node.items):,} options; at most {MAX_OPTIONS:,} are allowed")
            return None
        labels = self._labels_of(node)
        gene = self._gene(site, path, labels)
        options = [
            self.read(option, type_, path, f"{site}:{label}")
            for option, label in zip(node.items, labels, strict=True)
        ]
        if (id(node), id(type_)) not in self._compared:  # a menu is compared once, not at each of its uses
            self._compared.add((id(node), id(type_)))
            self._check_disjoint(node, options, path)
        return self._pick(gene, options)

    def _labels_of(self, node: Items) -> tuple[str, ...]:
        if id(node) not in self._labels:
            self._labels[id(node)] = option_labels(node.items)
        return self._labels[id(node)]

    def _check_disjoint(self, node: Items, options: list[Tree | None], path: str) -> None:
        try:
            pair = first_overlap(options, self._budget)
        except TooManyComparisonsError:
            message = f"{len(options)} options are too many to compare; use fewer, or int ranges inside them"
            self.report(node.mark, path, message)
            return
        if pair is not None:
            earlier, later = pair
            line = node.items[earlier].mark.line
            where = f" (line {line})" if line is not None else ""
            message = (
                f"option {later + 1} ({label(node.items[later])}) can be the same as option {earlier + 1}"
                f" ({label(node.items[earlier])}){where}; options must differ whatever is chosen inside them"
            )
            self.report(node.items[later].mark, path, message)

    def _int_range(self, node: Node, type_: Type, path: str, site: str) -> Tree | None:
        values = self._int_values(node, path)
        if values is None:
            return None
        gene = self._gene(site, path, tuple(str(value) for value in values))
        options: list[Tree | None] = []
        for value in values:
            option = self.read(Scalar(value, str(value), node.mark), type_, path)
            options.append(option)
            if option is None:  # one report for the range, not one for each of its values
                break
        return self._pick(gene, options)

    def _int_values(self, node: Node, path: str) -> range | None:
        bounds = [
            item.value
            for item in (node.items if isinstance(node, Items) else ())
            if isinstance(item, Scalar) and type(item.value) is int
        ]
        if not isinstance(node, Items) or len(bounds) != len(node.items) or len(bounds) not in {2, 3}:
            self.report(node.mark, path, "int needs [low, high] or [low, high, step], three integers at most")
            return None
        low, high, step = bounds[0], bounds[1], bounds[2] if len(bounds) == 3 else 1
        if step < 1 or low > high:
            self.report(
                node.mark, path, f"int [{low}, {high}, {step}] is empty; low <= high and step >= 1 are needed"
            )
            return None
        if (high - low) % step:
            reached = low + (high - low) // step * step
            self.report(
                node.mark,
                path,
                f"steps of {step} from {low} do not reach {high}; use {reached} or {reached + step}",
            )
            return None
        if (high - low) // step + 1 > MAX_OPTIONS:
            self.report(node.mark, path, f"more than {MAX_OPTIONS:,} integers; use a larger step")
            return None
        return range(low, high + 1, step)

    def _ref(self, node: Node, type_: Type, path: str) -> Tree | None:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self.report(node.mark, path, "ref needs the name of a choice, or name.field")
            return None
        name, *fields = node.value.split(".")
        target = self._choices.get(name)
        if target is None:
            self._unknown_name(node, path, f"no choice is named {name!r}", name, self._choices, "choices")
            return None
        self.used_choices.add(name)
        if name in self._open_names:
            self.report(node.mark, path, f"the choice {name!r} refers to itself")
            return None
        self._open_names.append(name)
        tree = self._project(target, fields, type_, path, f"choices.{name}", node.mark)
        self._open_names.pop()
        return tree

    def _project(
        self, node: Node, fields: list[str], type_: Type, path: str, site: str, used_at: Mark
    ) -> Tree | None:
        """The tree of `fields` in `node`, typed by the place that refers to it; choices keep their genes."""
        if not fields:
            return self._shared(node, type_, path, site)
        if not self._is_within_bounds(node, path):
            return None
        key = choice_key(node)
        if key == "one_of":
            argument = node.fields[0][1] if isinstance(node, Fields) else None
            if isinstance(argument, Items) and argument.items:
                labels = self._labels_of(argument)
                gene = self._gene(site, site, labels, shared=True)
                options = [
                    self._project(option, fields, type_, path, f"{site}:{label}", used_at)
                    for option, label in zip(argument.items, labels, strict=True)
                ]
                return self._pick(gene, options)
        if key is None and isinstance(node, Fields):
            inner = node.get(fields[0])
            if inner is not None:
                return self._project(inner, fields[1:], type_, path, f"{site}.{fields[0]}", used_at)
            keys = [name for name, _ in node.fields]
            self.report(
                node.mark,
                path,
                f"this option has no field {fields[0]!r}, used at {used_at}{suggest(fields[0], keys)}",
            )
            return None
        self.report(node.mark, path, f"a field {fields[0]!r} is used at {used_at}, but this is not a mapping")
        return None

    def _shared(self, node: Node, type_: Type, path: str, site: str) -> Tree | None:
        """Read a node of the `choices` section: the genes in it are shared by all that refer to it."""
        outer, self._sharing = self._sharing, True
        tree = self.read(node, type_, path, site)
        self._sharing = outer
        return tree

    def _use(self, node: Node, type_: Type, path: str, site: str) -> Tree | None:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            self.report(node.mark, path, "use needs the name of a menu")
            return None
        name = node.value
        target = self._menus.get(name)
        if target is None:
            self._unknown_name(node, path, f"no menu is named {name!r}", name, self._menus, "menus")
            return None
        self.used_menus.add(name)
        marker = f"menu {name}"
        if marker in self._open_names:
            self.report(node.mark, path, f"the menu {name!r} uses itself")
            return None
        self._open_names.append(marker)
        tree = self.read(target, type_, path, site)
        self._open_names.pop()
        return tree

    def _gene(self, site: str, column: str, labels: tuple[str, ...], *, shared: bool = False) -> int:
        shared = shared or self._sharing
        if site not in self._gene_by_site:
            self._gene_by_site[site] = len(self.genes)
            self.genes.append(
                Gene(site=site, column=site if shared else column, labels=labels, shared=shared)
            )
        return self._gene_by_site[site]

    @staticmethod
    def _pick(gene: int, options: Iterable[Tree | None]) -> Tree | None:
        trees = list(options)
        return (
            None
            if any(tree is None for tree in trees)
            else Pick(gene, tuple(t for t in trees if t is not None))
        )

    # --- values ----------------------------------------------------------------------------------------

    def _leaf(
        self, node: Node, type_: Leaf, path: str, also: RecordType | Tagged | None = None
    ) -> Tree | None:
        if isinstance(node, Scalar):
            try:
                return Const(type_.adapter.validate_python(node.value, strict=True))
            except ValidationError as error:
                self.report(node.mark, path, explain_error(error.errors(include_url=False), node, also))
        else:
            kind = "a list" if isinstance(node, Items) else "a mapping"
            self.report(node.mark, path, f"expected a single value, got {kind}")
        return None

    def _tagged(self, node: Node, type_: Tagged, path: str, site: str) -> Tree | None:
        if not isinstance(node, Fields):
            self.report(node.mark, path, f"expected a {type_.name} such as {type_.example}")
            return None
        variants = type_.variants()
        op = node.get("op")
        if op is None:
            self.report(node.mark, path, f"a {type_.name} needs its op: {', '.join(variants)}")
            return None
        if choice_key(op) is not None:
            self.report(
                op.mark,
                f"{path}.op",
                f"a tag cannot be a choice; make the {type_.name} a choice between {type_.name}s",
            )
            return None
        value = op.value if isinstance(op, Scalar) else None
        variant = variants.get(value) if isinstance(value, str) else None
        if variant is None:
            shown = shorten(str(to_python(op)))
            self.report(
                op.mark,
                f"{path}.op",
                f"no op is named {shown!r}{suggest(shown, variants)}; known: {', '.join(variants)}",
            )
            return None
        return self._record(node, variant, path, site)

    def _record(self, node: Node, type_: RecordType, path: str, site: str) -> Tree | None:
        if not isinstance(node, Fields):
            self.report(node.mark, path, f"expected a mapping with the keys {', '.join(type_.fields)}")
            return None
        ignored = ("op",) if type_.tag is not None else ()
        self.unknown_keys(node, [*ignored, *type_.fields], path)
        return self.record(dict(node.fields), type_, path, site, node.mark)

    def record(
        self, given: Mapping[str, Node], type_: RecordType, path: str, site: str, mark: Mark
    ) -> Record | None:
        """A record from nodes by key, defaults filled; keys that the type does not know are not looked at."""
        fields: list[tuple[str, Tree]] = []
        is_complete = True
        for key, field in type_.fields.items():
            inner = f"{path}.{key}".lstrip(".")
            tree = self._field(given.get(key), field, inner, f"{site}.{key}".lstrip("."), mark)
            if tree is None:
                is_complete = False
            else:
                fields.append((key, tree))
        return Record(type_.make, type_.tag, tuple(fields)) if is_complete else None

    def _field(self, node: Node | None, field: FieldType, path: str, site: str, mark: Mark) -> Tree | None:
        if node is not None:
            return self.read(node, field.type, path, site)
        if field.default is MISSING:
            self.report(mark, path, f"the key {path.rpartition('.')[2]!r} is missing")
            return None
        return Const(field.default)

    def unknown_keys(self, node: Fields, known: Iterable[str], path: str) -> None:
        """Report every key that is not known, with the nearest that is."""
        keys = list(known)
        for name, _ in node.fields:
            if name not in keys:
                shown = shorten(name)
                message = f"unknown key {shown!r}{suggest(shown, keys)}; known: {', '.join(keys)}"
                self.report(node.key_marks[name], path, message)

    def _unknown_name(
        self, node: Scalar, path: str, message: str, name: str, known: Iterable[str], section: str
    ) -> None:
        names = sorted(known)
        listing = f"; {section}: {', '.join(names)}" if names else f"; the document has no {section}"
        self.report(node.mark, path, f"{message}{suggest(name, names)}{listing}")


def choice_key(node: Node | None) -> str | None:
    """The kind of choice that `node` is, or None: a mapping with exactly one key, and that a choice's."""
    if isinstance(node, Fields) and len(node.fields) == 1 and node.fields[0][0] in CHOICE_KEYS:
        return node.fields[0][0]
    return None
