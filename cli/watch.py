"""`nas watch`: a search that goes on elsewhere, in this terminal, until it ends."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.errors import ExitCode
from cli.options import DURATION, Json, RunName
from cli.output import is_plain, note, printable, write_json, write_line
from cli.values import format_duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from results.watching import Snapshot

MAX_LAST = 5


def watch(
    name: RunName,
    interval: Annotated[float, typer.Option(**DURATION, help="How often to look; default 2s.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Show how it stands now, and end.")] = False,
    as_json: Json = False,
) -> None:
    """Watch a search that is going on, from any terminal or machine that sees its directory.

    Ends with the search: with exit code 0, or 5 when it was interrupted and can be resumed.
    """
    from itertools import islice

    from results.run import find_run
    from results.watching import snapshots

    path = find_run(name)
    seen = islice(snapshots(path, wait=lambda: time.sleep(interval)), 1 if once else None)
    last = _show(seen, as_json=as_json)
    if as_json:
        write_json(document(last))
    if not once and last.state.phase == "interrupted":
        note(f"interrupted; go on with: nas resume {path}")
        raise typer.Exit(ExitCode.STOPPED_EARLY)


def document(seen: "Snapshot") -> dict[str, Any]:
    """How a run stands, as plain JSON: its summary and what only a running one has."""
    return {
        **seen.summary,
        "phase": seen.state.phase,
        "writer": seen.state.writer,
        "target": seen.target,
        "failures": seen.failures,
        "eta_seconds": seen.eta_seconds,
        "seconds_since_last_result": seen.quiet_seconds,
    }


def _show(seen: Iterator["Snapshot"], *, as_json: bool) -> "Snapshot":
    """Show every snapshot as the output allows; returns the last."""
    last: Snapshot | None = None
    if as_json:
        for last in seen:  # noqa: B007 -- only the last is wanted
            pass
    elif is_plain(sys.stdout):
        last = _write_lines(seen)
    else:
        last = _draw(seen)
    assert last is not None  # there is always a first one
    return last


def _write_lines(seen: Iterator["Snapshot"]) -> "Snapshot | None":
    """A line whenever something has changed, and the front at the end."""
    from cli.front import write_run

    before, last = None, None
    for last in seen:
        line = f"{last.evaluated}/{_target(last)} {describe(last)}"
        if line != before:
            write_line(line)
            sys.stdout.flush()
            before = line
    if last is not None:
        write_line()
        write_run(last.run)
    return last


def describe(seen: "Snapshot") -> str:
    """`running, front 5, hypervolume 0.123, 1 failed, 3 min 20 s left`."""
    summary = seen.summary
    parts = [str(seen.state), f"front {len(summary['front'])}"]
    if summary["hypervolume"] is not None:
        parts.append(f"hypervolume {summary['hypervolume']:.4g}")
    parts.append(f"{summary['failed']} failed")
    if seen.eta_seconds is not None:
        parts.append(f"{format_duration(seen.eta_seconds)} left")
    return ", ".join(parts)


def _target(seen: "Snapshot") -> str:
    return "?" if seen.target is None else str(seen.target)


def _draw(seen: Iterator["Snapshot"]) -> "Snapshot | None":
    """The whole picture, drawn anew each time; the last one stays."""
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    last: Snapshot | None = None
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        for last in seen:
            live.update(picture(last, height=console.height), refresh=True)
    return last


def picture(seen: "Snapshot", *, height: int) -> "RenderableType":
    """Progress, how the hypervolume grew, the front as far as `height` lines allow, the latest results."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(printable(seen.run.name), style="bold"),
        ProgressBar(total=seen.target or seen.evaluated or 1, completed=seen.evaluated, width=30),
        Text(f"{seen.evaluated}/{_target(seen)}"),
    )
    quiet = seen.quiet_seconds
    if quiet is not None and seen.state.may_change:
        since = f"last result {format_duration(quiet)} ago"
    else:
        since = "no result yet" if quiet is None else ""
    failures = ", ".join(f"{count} {status}" for status, count in seen.failures.items())
    facts = [since, f"failed: {failures}" if failures else "", _growth(seen)]
    latest = seen.last[:MAX_LAST]
    front = seen.run.pareto()
    room = max(3, height - len(latest) - 12)
    return Group(
        head,
        Text(printable(describe(seen))),
        Text(printable("   ".join(fact for fact in facts if fact)), style="dim"),
        Text(),
        _front_table(seen, room),
        Text(f"and {len(front) - room} more on the front" if len(front) > room else "", style="dim"),
        *(_latest_line(each) for each in latest),
    )


def _front_table(seen: "Snapshot", room: int) -> "RenderableType":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from cli.front import are_estimated, front_columns, usual_cells

    members = seen.run.pareto()
    is_estimated = are_estimated(members)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=Text("front"), title_justify="left")
    for column in front_columns(is_estimated=is_estimated):
        table.add_column(Text(column.title), justify="right" if column.is_number else "left")
    for member in members[:room]:
        cells = usual_cells(member, is_estimated=is_estimated)
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table if members else Text("nothing is measured yet, so there is no front", style="dim")


def _latest_line(result: Any) -> "RenderableType":
    from rich.text import Text

    values = [f"#{result.id}", result.status]
    if result.accuracy is not None:
        values.append(f"accuracy {result.accuracy:.4f}")
    if result.step_ms is not None:
        values.append(f"step {result.step_ms:.2f} ms")
    if result.reason:
        values.append(result.reason)
    style = "" if result.is_measured else "yellow"
    return Text(printable("  ".join(values)), style=style, no_wrap=True, overflow="ellipsis")


BARS = "▁▂▃▄▅▆▇█"


def _growth(seen: "Snapshot", width: int = 32) -> str:
    """The hypervolume after each evaluation as small bars, up to the largest."""
    volumes = [moment.hypervolume for moment in seen.moments if moment.hypervolume is not None]
    if len(volumes) < 2 or not volumes[-1]:
        return ""
    shown = [volumes[round(place * (len(volumes) - 1) / (width - 1))] for place in range(width)]
    top = max(shown)
    return "hypervolume " + "".join(BARS[min(7, int(8 * volume / top))] for volume in shown)
