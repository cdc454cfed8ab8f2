"""What is said of broken documents: place, value, remedy; all at once and in order; and never a traceback."""

import contextlib
import itertools
import pickle
import random
import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.choice import one_of
from search_spaces.document import (
    architecture_from_document,
    load_architecture,
    read_architecture,
    read_spec,
    read_yaml,
)
from search_spaces.nodes import DocumentError, parse_yaml
from search_spaces.shipped import ARCHITECTURES, SPACES
from search_spaces.space_document import _read_space, load_space, space
from search_spaces.spec import Depth, Name, Spec, Width

ARCHITECTURE = """\
schema: nas.architecture/1
stem: {width: 8}
stages:
  - {stride: 2, depth: 1, width: 16, block: {op: mbconv, expand: 4}}
head: {width: 32}
"""
SPACE = """\
schema: nas.space/1
name: small
stem: {width: 8}
stages:
  - {stride: 2, depth: 1, width: 16, block: {op: mbconv, expand: 4}}
head: {width: 32}
"""


def cases(file_name, base):
    """The cases of a file: (document, expected errors) with their names."""
    text = Path(__file__).with_name(file_name).read_text()
    for section in text.split("\n[")[1:]:
        name, _, body = section.partition("]\n")
        lines, errors = base.splitlines(), []
        for row in body.strip().splitlines():
            mark, _, content = row.partition("|")
            if mark == "!":
                errors.append(f"f.yaml:{content[1:]}")
            elif mark == "+":
                lines.append(content[1:])
            else:
                lines[int(mark) - 1] = content[1:]
        yield pytest.param("\n".join(lines) + "\n", errors, id=name)


def errors_of(read, text):
    with pytest.raises(DocumentError) as caught:
        read(parse_yaml(text, "f.yaml"))
    return str(caught.value).splitlines()


def test_the_documents_that_are_broken_below_are_whole():
    assert read_architecture(parse_yaml(ARCHITECTURE, "f.yaml")).num_blocks == 1
    assert _read_space(parse_yaml(SPACE, "f.yaml")).size == 1


@pytest.mark.parametrize(("text", "errors"), [*cases("bad_architectures.txt", ARCHITECTURE)])
def test_broken_architectures(text, errors):
    assert errors_of(read_architecture, text) == errors


@pytest.mark.parametrize(("text", "errors"), [*cases("bad_spaces.txt", SPACE)])
def test_broken_spaces(text, errors):
    assert errors_of(_read_space, text) == errors


KEYS = "schema, name, notes, input, stem, head, padding, norm, stages, recipe"
PYTHON, NO_TAG = "tag:yaml.org,2002:python/", "not allowed; documents are plain data"
NOT_YAML = [
    ("", "f.yaml: the document is empty"),
    ("# nothing\n", "f.yaml: the document is empty"),
    ("- 1\n", f"f.yaml:1:1: expected a mapping with the keys {KEYS}"),
    ("42\n", f"f.yaml:1:1: expected a mapping with the keys {KEYS}"),
    ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document; one file holds one document"),
    ("a: 1\nb:\n  c: 2\n  c: 3\n", "f.yaml:4:3: the key 'c' is already given on line 3"),
    (
        "a: &x 1\n",
        "f.yaml:1:4: anchors and aliases are not allowed; use `choices` with `ref`, or `menus` with `use`",
    ),
    (
        "a: *x\n",
        "f.yaml:1:4: anchors and aliases are not allowed; use `choices` with `ref`, or `menus` with `use`",
    ),
    ("&x a: 1\n", "f.yaml:1:1: anchors, aliases and tags are not allowed"),
    ("a: !!str 1\n", "f.yaml:1:4: the tag tag:yaml.org,2002:str is not allowed; documents are plain data"),
    ("a: !!python/name:os.system\n", f"f.yaml:1:4: the tag {PYTHON}name:os.system is {NO_TAG}"),
    (
        "a:\n  <<: {b: 1}\n",
        "f.yaml:2:3: merge keys are not allowed; use `choices` with `ref`, or `menus` with `use`",
    ),
    ("? [a]\n: b\n", "f.yaml:1:3: a key must be a plain string"),
    ("[" * 5_000, "f.yaml:1:34: nested deeper than 32 levels"),
    ("{a: " * 5_000, "f.yaml:1:133: nested deeper than 32 levels"),
    ("a: x\x00y\n", "f.yaml:1:5: the character U+0000 cannot stand in a document; remove it"),
    ("a: 1\nb: \x1b[31m\n", "f.yaml:2:4: the character U+001B cannot stand in a document; remove it"),
    (
        "a:\n\tb: 1\n",
        "f.yaml:2:1: not YAML: found character that cannot start any token; indent with spaces, not tabs",
    ),
    ("a: 'x\n", "f.yaml:2:1: not YAML: found unexpected end of stream"),
    ("a: b: c\n", "f.yaml:1:5: not YAML: mapping values are not allowed in this context"),
    ("a: .nan\n", "f.yaml:1:4: .nan is not a finite number"),
    ("a: -.inf\n", "f.yaml:1:4: -.inf is not a finite number"),
    ("a: 1e999\n", "f.yaml:1:4: 1e999 is not a finite number"),
    (
        "a: " + "9" * 5_000 + "\n",
        "f.yaml:1:4: the number 9999999999999999999999999999999999999... is too large",
    ),
    ("a" * 300_000, "f.yaml: larger than 256 KiB, which no document of this kind needs"),
    (
        "[" + "1," * 60_000 + "]",
        "f.yaml:1:100000: more than 50000 values, which no document of this kind needs",
    ),
]


@pytest.mark.parametrize(("text", "error"), NOT_YAML, ids=range(len(NOT_YAML)))
def test_what_is_not_a_plain_document(text, error):
    assert errors_of(read_architecture, text) == [error]


def test_a_billion_laughs_are_refused_at_the_first_anchor():
    names = "abcdefghi"
    bomb = "a: &a [x]\n"
    for before, name in itertools.pairwise(names):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    assert errors_of(read_architecture, bomb)[0].startswith("f.yaml:1:4: anchors and aliases are not allowed")


def test_every_problem_is_reported_at_once_and_in_order():
    text = (
        "schema: nas.space/1\nstem: {widht: 8, kernel: 4}\nstages:\n"
        "  - {stride: 2, depth: no, width: {one_of: [8, 8]}, block: {op: mbcon, expand: 4}}\n"
        "  - {depth: 1, width: {ref: w}, block: {op: mbconv, expand: 0, act: rleu}}\n"
        "head: {width: 32.0}\nlimits: {flops: {max: 1}}\nseeds: [efficientnetv2-z]\nfoo: 1\n"
    )
    lines = text.splitlines()
    places = [re.match(r"f\.yaml:(\d+):(\d+): ", error).groups() for error in errors_of(_read_space, text)]
    assert [int(line) for line, _ in places] == [1, 2, 2, 2, 4, 4, 4, 5, 5, 5, 6, 7, 8, 9]
    assert [lines[int(line) - 1][int(column) - 1 :][:5] for line, column in places] == [
        *("schem", "{widh", "widht", "4}", "no, w", "8]}, ", "mbcon", "w}, b", "0, ac", "rleu}", "32.0}"),
        *("flops", "effic", "foo: "),
    ]


def test_a_menu_is_reported_once_however_often_it_is_used():
    text = (
        SPACE.replace("{op: mbconv, expand: 4}", "{use: b}")
        + "menus: {b: {op: mbconv, expand: 4, kernel: 2}}\n"
    )
    stage = "  - {depth: 1, width: 16, block: {use: b}}\n"
    errors = errors_of(_read_space, text.replace("head:", stage * 5 + "head:"))
    assert len(errors) == 1
    assert errors[0].startswith("f.yaml:12:44: stages[")


def test_python_documents_are_told_apart_by_path():
    document = {"name": "x", "stem": {}, "head": {}, "stages": [{"depth": 1}, {"depth": one_of(1, 1)}]}
    differ = "options must differ whatever is chosen inside them"
    with pytest.raises(DocumentError) as caught:
        space(document)
    assert str(caught.value).splitlines() == [
        "<python>: stem.width: the key 'width' is missing",
        "<python>: head.width: the key 'width' is missing",
        "<python>: stages[0].width: the key 'width' is missing",
        "<python>: stages[0].block: the key 'block' is missing",
        f"<python>: stages[1].depth: option 2 (1) can be the same as option 1 (1); {differ}",
        "<python>: stages[1].width: the key 'width' is missing",
        "<python>: stages[1].block: the key 'block' is missing",
    ]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({1: 2}, "<python>: x: the key 1 is not a string"),
        (float("nan"), "<python>: x: nan is not document data"),
        (10**5_000, "<python>: x: an integer of many digits is not document data"),
        (object, "<python>: x: <class 'object'> is not document data"),
        ([[[]]] * 3, "<python>: unknown key 'x'"),
    ],
    ids=["key", "nan", "digits", "type", "unknown"],
)
def test_python_data_that_no_document_holds(value, error):
    with pytest.raises(DocumentError, match=re.escape(error)):
        architecture_from_document({"schema": "nas.architecture/1", "x": value})


def test_python_data_without_end():
    endless: dict = {}
    endless["a"] = endless
    with pytest.raises(DocumentError, match="nested deeper than 32 levels"):
        space(endless)


def test_errors_do_not_steer_the_terminal():
    text = SPACE + 'seeds: ["\\e[2Jgone"]\nchoices: {"a\\e[1m": {one_of: [1, 2]}}\n'
    with pytest.raises(DocumentError) as caught:
        _read_space(parse_yaml(text, "f.yaml"))
    assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_errors_travel_between_processes():
    with pytest.raises(DocumentError) as caught:
        load_space("nothing")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.problems == caught.value.problems


# --- files and names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "name", "text"),
    [
        (
            load_space,
            "effnetv3",
            "effnetv3: no space or file has this name, did you mean 'effnetv2'?; shipped: ",
        ),
        (
            load_architecture,
            "efficientnetv2-x",
            "no architecture or file has this name, did you mean 'efficient",
        ),
        (load_space, "missing/space.yaml", "missing/space.yaml: cannot be read: No such file or directory"),
        (load_space, "a" * 5_000, "aaaa...: no space or file has this name"),
        (load_space, "a" * 5_000 + ".yaml", "cannot be read: File name too long"),
        (load_space, "a\0.yaml", "cannot be read: embedded null byte"),
        (load_space, "/tmp", "/tmp: cannot be read: Is a directory"),
    ],
)
def test_names_and_files_that_are_not_there(load, name, text):
    with pytest.raises(DocumentError, match=re.escape(text)):
        load(name)


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(DocumentError, match=r"space\.yaml: not UTF-8 text \(byte 6\)"):
        load_space(path)


def test_seeds_may_be_files_beside_the_space(tmp_path):
    (tmp_path / "mine.yaml").write_text(ARCHITECTURE)
    (tmp_path / "space.yaml").write_text(SPACE + "seeds: [mine.yaml]\n")
    assert load_space(tmp_path / "space.yaml").seeds == (load_architecture(tmp_path / "mine.yaml"),)
    (tmp_path / "mine.yaml").write_text(ARCHITECTURE.replace("expand: 4", "expand: 6"))
    with pytest.raises(
        DocumentError, match=r"space\.yaml:7:9: seeds\[0\]: this seed is not a member of this space"
    ):
        load_space(tmp_path / "space.yaml")


class Part(Spec):
    width: Width
    depth: Depth = 1


class Whole(Spec):
    name: Name
    parts: tuple[Part, ...] = ()
    part: Part | None = None


def test_other_specifications_are_read_with_marks(tmp_path):
    path = tmp_path / "whole.yaml"
    path.write_text("name: whole\nparts:\n  - {width: 3}\npart: {width: 4, depth: 2}\n")
    assert read_spec(path, Whole) == Whole(name="whole", parts=(Part(width=3),), part=Part(width=4, depth=2))
    assert read_yaml(path)["parts"] == [{"width": 3}]
    path.write_text("nmae: whole\nparts:\n  - {width: no}\n  - {depht: 2}\npart: {width: 1, dept: 3}\n")
    with pytest.raises(DocumentError) as caught:
        read_spec(path, Whole)
    assert [line.removeprefix(str(path)) for line in str(caught.value).splitlines()] == [
        ":1:1: name: the key 'name' is missing",
        ":1:1: nmae: unknown key 'nmae', did you mean 'name'?; known: name, parts, part",
        ":3:13: parts[0].width: expected an integer, got 'no'",
        ":4:5: parts[1].width: the key 'width' is missing",
        ":4:6: parts[1].depht: unknown key 'depht', did you mean 'depth'?; known: width, depth",
        ":5:18: part.dept: unknown key 'dept', did you mean 'depth'?; known: width, depth",
    ]


# --- hostile documents ------------------------------------------------------------------------------------

STAGE = "stages:\n  - {{depth: 1, width: {width}, block: {block}}}\n"
TOP = "schema: nas.space/1\nname: hostile\nstem: {width: 8}\nhead: {width: 32}\n"
BLOCK = "{op: mbconv, expand: 4}"


def with_stage(width="8", block=BLOCK):
    return TOP + STAGE.format(width=width, block=block)


def doubling(section, first, again):
    rows = [
        f"  m{index}: {{one_of: [{again}, {again}]}}".replace("@", str(index - 1)) for index in range(1, 40)
    ]
    return f"{section}:\n  m0: {first}\n" + "\n".join(rows) + "\n"


OPEN_BLOCKS = [f"{{op: mbconv, expand: {{int: [1, 64]}}, se: {{ratio: {n}e-4}}}}" for n in range(1, 1_500)]
HOSTILE = {
    "menus that double": with_stage(width="{use: m39}") + doubling("menus", "1", "{use: m@}"),
    "choices that double": with_stage(width="{ref: m39}")
    + doubling("choices", "{one_of: [1, 2]}", "{ref: m@}"),
    "bundles that double": with_stage(width="{ref: m39.a}")
    + doubling("choices", "{one_of: [{a: 1}, {a: 2}]}", "{a: {ref: m@.a}}"),
    "a long chain of menus": with_stage(width="{use: m4000}")
    + "menus:\n  m0: 1\n"
    + "".join(f"  m{index}: {{use: m{index - 1}}}\n" for index in range(1, 4_001)),
    "many options to compare": with_stage(block=f"{{one_of: [{', '.join(OPEN_BLOCKS)}]}}"),
    "many stages": TOP + "stages:\n" + f"  - {{depth: 1, width: 8, block: {BLOCK}}}\n" * 3_000,
    "many seeds": with_stage() + f"seeds: [{', '.join(['efficientnetv2-xl'] * 5_000)}]\n",
    "many rules": with_stage() + f"rules: [{', '.join(['{increasing: width}'] * 5_000)}]\n",
    "many unknown keys": with_stage() + "".join(f"key{index}: 1\n" for index in range(12_000)),
    "many unused choices": with_stage()
    + "choices:\n"
    + "".join(f"  c{index}: {{one_of: [1, 2]}}\n" for index in range(9_000)),
    "digits of another script": with_stage(width='"³"'),
    "very many quoted digits": with_stage(width=f'"{"9" * 5_000}"'),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_are_refused_in_time(name):
    started = time.process_time()
    assert errors_of(_read_space, HOSTILE[name])
    assert time.process_time() - started < 10  # some take 1 s, without their bound they take minutes


def test_a_document_of_the_largest_size_works():
    runs = [
        {"depth": {"int": [0, 1]}, "width": 8, "block": {"op": "mbconv", "expand": 1}} for _ in range(256)
    ]
    found = space({"name": "x", "stem": {"width": 8}, "head": {"width": 8}, "stages": runs})
    assert found.size == 2**256 - 1
    genes = [1] * 256
    arch = found.decode(genes)
    assert found.encode(arch).tolist() == genes


# --- mutated documents ------------------------------------------------------------------------------------

TEXTS = [path.read_text() for folder in (SPACES, ARCHITECTURES) for path in sorted(folder.glob("*.yaml"))[:6]]
PIECES = [
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "-",
        "\n",
        "  ",
        "\t",
        "&a ",
        "*a",
        "!!x ",
        "<<: ",
        "'",
        '"',
        "|",
        "%",
        "\0",
    ),
    *(
        "0",
        "-1",
        "1e9",
        ".nan",
        "true",
        "null",
        "one_of",
        "int",
        "ref",
        "use",
        "op",
        "depth",
        "{one_of: [1, 1]}",
    ),
    *("{int: [0, 9]}", "{ref: a.b}", "{use: block}", "{}", "[]", "~", "é", "\u2028", "99999999999999999999"),
]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=380)
def test_mutated_documents_are_read_or_refused(seed):
    """No document raises anything else, and those that are read can be counted and drawn from."""
    chance = random.Random(seed)
    text = chance.choice(TEXTS)
    for _ in range(chance.randint(1, 6)):
        start = chance.randrange(len(text))
        end = min(len(text), start + chance.choice([0, 0, 1, 3, 12, 40]))
        piece = chance.choice([*PIECES, text[end : end + 20]])
        text = text[:start] + piece + text[end:]
    for read in (read_architecture, _read_space):
        with contextlib.suppress(DocumentError):
            read(parse_yaml(text, "f.yaml"))


def tree_mutations(node, chance):
    """The document with one value replaced, removed, doubled or moved."""
    places = list(_places(node))
    holder, key = chance.choice(places)
    other, other_key = chance.choice(places)
    values = [None, True, 0, -1, 3.0, "no", "", [], {}, {"one_of": []}, {"int": [3, 1]}, {"ref": "x"}, 10**17]
    action = chance.randrange(4)
    if action == 0:
        holder[key] = chance.choice(values)
    elif action == 1:
        del holder[key]
    elif action == 2:
        holder[key] = yaml.safe_load(yaml.safe_dump(other[other_key]))
    else:
        holder[key] = {"one_of": [holder[key], yaml.safe_load(yaml.safe_dump(other[other_key]))]}


def _places(node):
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield node, key
        yield from _places(value)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=120)
def test_mutated_trees_are_read_or_refused(seed):
    chance = random.Random(seed)
    document = yaml.safe_load(chance.choice(TEXTS))
    for _ in range(chance.randint(1, 3)):
        tree_mutations(document, chance)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    for read in (read_architecture, _read_space):
        with contextlib.suppress(DocumentError):
            found = read(parse_yaml(text, "f.yaml"))
            assert found.digest if read is read_architecture else found.size >= 0
