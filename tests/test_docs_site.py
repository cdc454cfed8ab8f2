"""Generated pages of the documentation name all that the program has; the site builds without a warning."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import nas
from cli.errors import ExitCode
from cli.main import make_app
from search_spaces.registry import BLOCKS

ROOT = Path(__file__).parents[1]


def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every_command(group, path="nas"):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def test_every_command_and_option_is_on_the_page():
    page = hooks().commands_page()
    sections = dict(re.findall(r"^#+ (nas [^\n]+)\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL))
    commands = dict(every_command(get_command(make_app(plain=True))))
    assert set(commands) <= set(sections)
    assert len(commands) > 15
    for path, command in commands.items():
        for parameter in command.params:
            shown = parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar
            assert shown.replace("|", "\\|") in sections[path], (path, shown)
            assert (parameter.help or "").split()[0].replace("|", "\\|") in sections[path]


def test_every_key_of_every_block_is_on_the_page():
    page = hooks().keys_page()
    for op, kind in BLOCKS.items():
        for name, field in kind.spec.model_fields.items():
            needed = "required" if field.is_required() or name == "op" else ""
            assert re.search(rf"`block\({op}\)\.{field.alias or name}` \| [^|]+ \| {needed} \|", page), (
                op,
                name,
            )
    for key in ("stem.width", "stages[].runs[].depth", "recipe.dropout", "block(mbconv).se.ratio", "menus"):
        assert f"| `{key}` |" in page
    assert "| `stem.kernel` | integer, from 1 to 31, odd |" in page
    assert "| `stem.kernel` | integer, from 1 to 31, odd; or a choice |" in page


def test_the_schema_has_no_key_that_the_page_lacks():
    found = hooks()
    for name in ("architecture", "space"):
        schema = json.loads((ROOT / "search_spaces/schema" / f"{name}.schema.json").read_text())
        paths = [path for path, _, _ in found.schema_keys(schema)]
        assert len(paths) == len(set(paths))
        assert set(schema["properties"]) <= set(paths)


def test_every_public_name_is_on_the_page():
    page = hooks().api_page()
    places = re.findall(r"^::: (\S+)$", page, re.MULTILINE)
    assert re.findall(r"^## nas\.(\S+)$", page, re.MULTILINE) == list(nas.__all__)
    for name, place in zip(nas.__all__, places, strict=True):
        module, _, attribute = place.rpartition(".")
        assert place == f"nas.{name}" or getattr(importlib.import_module(module), attribute) is getattr(
            nas, name
        )


def test_every_exit_code_is_explained():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    for code in ExitCode:
        assert f"| [{int(code)}](#code-{int(code)}) |" in page
        assert f"\n## Code {int(code)}\n" in page


@pytest.mark.thorough
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "reference" / "commands" / "index.html").read_text()
    assert "nas export" in commands
    api = (tmp_path / "reference" / "api" / "index.html").read_text()
    assert "safetensors" in api, "docstrings are shown"
    html = "".join(page.read_text() for page in tmp_path.rglob("*.html"))
    assert "fonts.googleapis.com" not in html
