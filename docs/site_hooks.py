"""What mkdocs asks while it builds the site: pages that are generated, and sections that list a folder.

Commands, keys of documents and the Python API are written from the program itself, so they cannot go stale.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
FOLDERS = {"Guides": ("scaling.md", "guides"), "Decisions": (None, "decisions")}


def on_config(config: "MkDocsConfig") -> "MkDocsConfig":
    """List the pages of a folder in its section of the navigation."""
    docs = Path(config.docs_dir)
    for section in config.nav or []:
        for title, (first, folder) in FOLDERS.items():
            if isinstance(section, dict) and title in section:
                pages = [f"{folder}/{page.name}" for page in sorted((docs / folder).glob("*.md"))]
                section[title] = [*([first] if first else []), *pages]
    return config


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the generated pages."""
    from mkdocs.structure.files import File

    pages = {
        "reference/commands.md": commands_page(),
        "reference/keys.md": keys_page(),
        "reference/api.md": api_page(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text("utf-8").replace("](docs/", "]("),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def commands_page() -> str:
    """Every command with its arguments and options, from the command line itself."""
    from typer.main import get_command

    from cli.main import make_app

    group: Any = get_command(make_app(plain=True))
    lines = ["# Commands", "", "Written from the program; `nas COMMAND --help` says the same.", ""]
    for name, command in group.commands.items():
        lines += _command_lines(f"nas {name}", command)
    lines += ["## Options of every command", "", *_parameter_table(group), ""]
    return "\n".join(lines)


def _command_lines(path: str, command: Any) -> Iterator[str]:
    yield from (f"## {path}", "", _cell(command.help or ""), "")
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            for line in _command_lines(f"{path} {name}", below):
                yield f"#{line}" if line.startswith("## ") else line
        return
    arguments = " ".join(_metavar(each) for each in command.params if each.param_type_name == "argument")
    yield from ("```console", f"$ {path} {arguments} [OPTIONS]".replace("  ", " "), "```", "")
    yield from _parameter_table(command)
    yield ""


def _parameter_table(command: Any) -> Iterator[str]:
    yield from ("| | what it does | default |", "|---|---|---|")
    for each in command.params:
        if getattr(each, "hidden", False):
            continue
        names = _metavar(each) if each.param_type_name == "argument" else ", ".join(each.opts)
        flag = getattr(each, "is_flag", False)
        value = "" if flag or each.param_type_name == "argument" else f" {_metavar(each)}"
        default = "required" if each.required else "" if flag or each.default is None else f"`{each.default}`"
        yield f"| `{_code(names + value)}` | {_cell(each.help or '')} | {_cell(default)} |"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or ("N" if getattr(parameter, "min", None) is not None else "VALUE"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _code(text: str) -> str:
    return text.replace("|", "\\|")


def keys_page() -> str:
    """Every key of architectures and spaces, from their JSON Schemas."""
    lines = [
        "# Keys of documents",
        "",
        "Written from the JSON Schemas in `search_spaces/schema/`, which editors read for completion.",
        "What the keys mean is in [the space language](../space-language.md).",
        "",
    ]
    for title, name in (("Architectures", "architecture"), ("Spaces", "space")):
        schema = json.loads((ROOT / "search_spaces" / "schema" / f"{name}.schema.json").read_text("utf-8"))
        lines += [f"## {title}", "", "| key | value | |", "|---|---|---|"]
        lines += [f"| `{key}` | {value} | {needed} |" for key, value, needed in schema_keys(schema)]
        lines.append("")
    lines += [
        "In a space a value may be a choice wherever [the language](../space-language.md#choices) allows one."
    ]
    return "\n".join(lines)


def schema_keys(schema: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each key of a document: its path, what its value may be, and whether it is required."""
    definitions = schema["$defs"]
    yield from _keys("", schema, definitions)
    for block in (branch["then"] for branch in _unwrapped(definitions["run.block"])["allOf"]):
        yield from _keys(f"block({block['properties']['op']['const']}).", block, definitions)


def _keys(path: str, schema: Any, definitions: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The keys of one mapping, and of the mappings below it; blocks have rows of their own."""
    for key, value in schema.get("properties", {}).items():
        if value is False:  # a key that another one rules out
            continue
        needed = "required" if key in schema.get("required", ()) else ""
        yield path + key, _value(value, definitions), needed
        if key != "block":
            for suffix, below in _below(value, definitions):
                yield from _keys(f"{path}{key}{suffix}.", below, definitions)


def _below(value: Any, definitions: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The mappings that a value may be, or may be a list of."""
    if not isinstance(value, dict):
        return
    plain = _unwrapped(_resolved(value, definitions))
    if "properties" in plain:
        yield "", plain
    if "items" in plain:
        yield from (("[]", below) for _, below in _below(plain["items"], definitions))
    for each in (plain.get("then") if "else" in plain else None, *plain.get("anyOf", ())):
        yield from _below(each, definitions)


def _resolved(schema: Any, definitions: dict[str, Any]) -> Any:
    return definitions[schema["$ref"].removeprefix("#/$defs/")] if "$ref" in schema else schema


def _is_choice(schema: dict[str, Any]) -> bool:
    """Whether a schema allows a choice in place of a value."""
    return "else" in schema and "one_of" in schema["then"].get("properties", {})


def _unwrapped(schema: Any) -> Any:
    """What a schema asks of a value that is no choice."""
    return schema["else"] if _is_choice(schema) else schema


def _value(schema: Any, definitions: dict[str, Any]) -> str:
    """What a schema allows, in words."""
    if not isinstance(schema, dict) or not schema:
        return "anything"
    if _is_choice(schema):
        return f"{_value(schema['else'], definitions)}; or a choice"
    if "then" in schema and "else" in schema:
        return f"{_value(schema['else'], definitions)} or {_value(schema['then'], definitions)}"
    if "$ref" in schema:
        return _value(_resolved(schema, definitions), definitions)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_value(each, definitions) for each in schema[several]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    kind = schema.get("type", "mapping" if "properties" in schema else "value")
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    words = {"object": "mapping", "array": "list", "string": "text"}
    text = words.get(kind, kind) if isinstance(kind, str) else " or ".join(kind)
    if low is not None:
        text += f", {'above' if 'exclusiveMinimum' in schema else 'from'} {low:,}"
    if high is not None:
        text += f" to {high:,}"
    if "exclusiveMaximum" in schema:
        text += f", below {schema['exclusiveMaximum']:,}"
    if schema.get("not") == {"multipleOf": 2}:
        text += ", odd"
    return text


def api_page() -> str:
    """Every public name of `nas`, from the table that the package itself is loaded by."""
    import nas

    lines = ["# Python", "", "`import nas` costs next to nothing; what is named is loaded on first use.", ""]
    for name in nas.__all__:
        lines += [f"## nas.{name}", "", f"::: {_place(name)}", ""]
    return "\n".join(lines)


def _place(name: str) -> str:
    from nas import _PLACES

    return f"{_PLACES.get(name, 'nas')}.{name}"  # a module of its own, such as nas.plot, is where it is named
