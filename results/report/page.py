"""The report's file: a template, its style and its script, and the content, put into one page.

The page loads nothing and runs no script but its own: a content security policy with the script's hash says
so to the browser. Content is data in a block of JSON in which no character can end the block.
"""

import base64
import hashlib
import html
import json
import re
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from results.errors import RunError, RunWriteError
from results.filesystem import write_atomically
from results.report.content import content
from results.run import Run

SCRIPTS = (
    "text.js",
    "data.js",
    "filter.js",
    "scale.js",
    "plot.js",
    "table.js",
    "detail.js",
    "overview.js",
    "beside.js",
    "main.js",
)
"""In the order in which they are joined; all share one scope."""

_SLOT = re.compile(r"<!--(title|policy|style|content|script)-->")


def report_html(runs: Sequence[Run], *, now: float | None = None) -> str:
    """The report of one or several runs as the text of an HTML file.

    Raises:
        RunError: no run was given, or the same one twice.
        LedgerError: a ledger is damaged.
    """
    if not runs:
        raise RunError("a report needs at least one run; nas list shows the runs here")
    paths = [run.path for run in runs]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise RunError(f"{twice} is named twice; name each run once")
    made = content(runs, now=time.time() if now is None else now, version=_version())
    return page(made, title=", ".join(run.name for run in runs))


def write_report(runs: Sequence[Run], out: Path) -> Path:
    """Write `report_html` to `out`, whole or not at all; returns `out`.

    Raises:
        RunError: as `report_html`; or `out` cannot be written.
    """
    text = report_html(runs)
    try:
        write_atomically(out, text)
    except RunWriteError as error:  # there is nothing to resume here
        raise RunError(str(error)) from error
    return out


def page(document: Mapping[str, Any], *, title: str) -> str:
    """The page around a content document."""
    script = '(() => {\n"use strict";\n' + "\n".join(_asset(name) for name in SCRIPTS) + "})();\n"
    style = _asset("style.css")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    parts = {
        "title": html.escape(_encodable(title)),
        "policy": policy,
        "style": style,
        "content": embedded_json(document),
        "script": script,
    }
    return _SLOT.sub(lambda slot: parts[slot[1]], _asset("page.html"))


def embedded_json(document: Mapping[str, Any]) -> str:
    """JSON that is safe inside a script element: `<`, `>` and `&` are escapes, and so is all but ASCII."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return files("results.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _version() -> str:
    try:
        return version("training-aware-nas")
    except PackageNotFoundError:
        return "not installed"
