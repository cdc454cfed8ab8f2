"""`nas doctor`: what this installation and this machine have, and what is in the way."""

import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.errors import OWN_PACKAGES, ExitCode
from cli.options import COMPLETE_RUN, Json
from cli.output import Column, write_json, write_line, write_table
from cli.values import format_bytes

REQUIRED = (
    "torch",
    "numpy",
    "optuna",
    "pandas",
    "pyyaml",
    "fvcore",
    "pydantic",
    "typer",
    "rich",
    "moocore",
    "scikit-learn",
    "scipy",
    "nvidia-ml-py",
    "psutil",
    "pillow",
    "safetensors",
    "kornia",
)
OPTIONAL = {"ray": "--executor ray", "datasets": "Parquet and hub data"}
"""Distributions that something works without, and what they are for."""
OLDEST_PYTHON = (3, 11)


def doctor(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="Check this run instead: is it whole?", autocompletion=COMPLETE_RUN
        ),
    ] = None,
    salvage: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Make a new run here of what can be read of a damaged RUN."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check this installation and this machine, or a run; exit code 1 when something is in the way."""
    if run is not None:
        _doctor_run(run, salvage, as_json=as_json)
        return
    if salvage is not None:
        raise typer.BadParameter("needs a RUN to salvage", param_hint="'--salvage'")
    found = examine(Path.cwd(), sys.path)
    if as_json:
        write_json(found)
    else:
        _write(found)
    if found["problems"]:
        raise typer.Exit(ExitCode.FAILURE)


def _doctor_run(name: str, out: Path | None, *, as_json: bool) -> None:
    """Tell whether a run is whole; with `out`, make a new one of what can be read."""
    from results.run import find_run
    from results.salvage import describe, examine_run, salvage

    path = find_run(name)
    found = examine_run(path)
    if out is not None:
        found["salvaged"] = {"into": str(out), **salvage(path, out).counts()}
    if as_json:
        write_json(found)
    else:
        write_table([Column("what"), Column("found")], list(describe(found)))
        write_line()
        for problem in found["problems"]:
            write_line(f"problem: {problem}")
        if out is not None:
            write_line(f"salvaged into {out}; go on with: nas resume {out}")
        elif "salvageable" in found:
            write_line(f"nas doctor {name} --salvage DIR makes a new run of what can be read")
        elif not found["problems"]:
            write_line("the run is whole")
    if found["problems"] and out is None:
        raise typer.Exit(ExitCode.FAILURE)


def examine(directory: Path, search_path: Sequence[str]) -> dict[str, Any]:
    """Everything that `nas doctor` tells, as plain JSON. Loads neither torch nor ray."""
    from proxies.detection import find_machine
    from proxies.hardware import resolve_hardware

    machine = find_machine()
    packages = {name: _version(name) for name in (*REQUIRED, *OPTIONAL)}
    shadowed = shadows(OWN_PACKAGES, [str(directory), *search_path], Path(__file__).parent.parent)
    free = _free_bytes(directory / "runs")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "executors": [name for name in ("ray", "local") if name == "local" or packages["ray"] is not None],
        "devices": [
            {
                "kind": device.kind,
                "name": device.name,
                "memory_bytes": device.memory_bytes,
                "defect": device.defect,
            }
            for device in (*machine.accelerators, machine.cpu)
        ],
        "hardware": resolve_hardware(find=lambda: machine).profile.name,
        "notes": list(machine.notes),
        "runs": {"directory": str(directory / "runs"), "free_bytes": free},
        "shadowed": shadowed,
        "problems": _problems(packages, shadowed, free),
    }


def shadows(names: Sequence[str], search_path: Sequence[str], own: Path) -> list[dict[str, str]]:
    """What would be imported instead of our packages by a program with this search path; empty: nothing.

    The first entry is the working directory, which a notebook or `python -m` puts in front.
    """
    from importlib.machinery import PathFinder

    found = []
    for name in names:
        spec = PathFinder.find_spec(name, list(search_path))
        place = None if spec is None else spec.origin
        if place is not None and Path(place).resolve().parent != (own / name).resolve():
            found.append({"name": name, "by": place})
    return found


def _problems(packages: dict[str, str | None], shadowed: list[dict[str, str]], free: int | None) -> list[str]:
    from results.filesystem import MIN_FREE_BYTES

    problems = []
    if sys.version_info < OLDEST_PYTHON:
        problems.append(f"Python {platform.python_version()} is too old; 3.11 or later is needed")
    problems += [
        f"{name} is not installed; pip install {name}" for name in REQUIRED if packages[name] is None
    ]
    problems += [
        f"{each['by']} is imported instead of our package {each['name']!r} when it comes first on sys.path;"
        " rename it, or work in another directory"
        for each in shadowed
    ]
    if free is not None and free < MIN_FREE_BYTES:
        problems.append(f"runs/ has {format_bytes(free)} free; a search needs {format_bytes(MIN_FREE_BYTES)}")
    return problems


def _version(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _free_bytes(directory: Path) -> int | None:
    """Free space where runs are kept, or would be; None when it cannot be told."""
    import shutil

    place = next((path for path in (directory, *directory.parents) if path.is_dir()), None)
    try:
        return None if place is None else shutil.disk_usage(place).free
    except OSError:
        return None


def _write(found: dict[str, Any]) -> None:
    rows = [("python", f"{found['python']} on {found['platform']}")]
    for name, version in found["packages"].items():
        missing = f"not installed; needed for {OPTIONAL[name]}" if name in OPTIONAL else "not installed"
        rows.append((name, version or missing))
    for device in found["devices"]:
        memory = f", {format_bytes(device['memory_bytes'])}" if device["memory_bytes"] else ""
        defect = f" ({device['defect']})" if device["defect"] else ""
        rows.append((device["kind"], f"{device['name']}{memory}{defect}"))
    rows += [("note", note) for note in found["notes"]]
    rows.append(("--hardware auto", found["hardware"]))
    rows.append(("--executor", " or ".join(found["executors"])))
    rows.append(("runs", f"{found['runs']['directory']}, {format_bytes(found['runs']['free_bytes'])} free"))
    write_table([Column("what"), Column("found")], rows)
    write_line()
    for problem in found["problems"]:
        write_line(f"problem: {problem}")
    if not found["problems"]:
        write_line("nothing is in the way")
