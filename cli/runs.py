"""`nas list`, `show`, `pareto` and `resume`: runs that were started before."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import DURATION, Json, RunName
from cli.output import Column, write_json, write_line, write_table
from cli.values import format_count, format_duration, parse_names

if TYPE_CHECKING:
    from nas.progress import Progress
    from results.run import Run


def list_runs(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where runs are kept.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    from results.directory import list_runs as find_runs

    if not directory.is_dir() and directory != Path("runs"):
        raise typer.BadParameter(f"{directory} is not a directory", param_hint="DIR")
    listed = [_listed(path) for path in find_runs(directory)]
    if as_json:
        write_json(listed)
        return
    if not listed:
        write_line(f"no runs in {directory}")
        return
    titles = ("evaluated", "failed", "front", "hypervolume")
    write_table(
        [
            Column("run"),
            *(Column(title, is_number=True) for title in titles),
            Column("wall time"),
            Column(""),
        ],
        [
            (
                each["run"],
                *(format_count(each[title]) for title in titles),
                "-" if each["wall_seconds"] is None else format_duration(each["wall_seconds"]),
                each["error"] or ("estimated step times" if each.get("estimated") else ""),
            )
            for each in listed
        ],
    )


def _listed(path: Path) -> dict[str, Any]:
    """A run in short; one that cannot be read says why and hides no other."""
    from results.errors import ResultsError
    from results.run import load_run

    names = ("evaluated", "failed", "hypervolume", "wall_seconds")
    try:
        run = load_run(path)
        summary = run.summary()
    except ResultsError as error:
        return {"run": str(path), "front": None, **dict.fromkeys(names), "error": str(error)}
    short = {name: summary[name] for name in names}
    listed = {"run": summary["run"], "front": len(summary["front"]), **short, "error": None}
    return listed | ({"estimated": True} if run.is_estimated else {})


def show(name: RunName, as_json: Json = False) -> None:
    """Show a run: its front and every candidate with its status."""
    from cli.front import usual_cells, write_run
    from results.frame import columns, row
    from results.run import load_run

    run = load_run(name)
    candidates = run.candidates()
    if as_json:
        titles = columns(candidates)
        write_json(run.summary() | {"candidates": [row(candidate, titles) for candidate in candidates]})
        return
    write_run(run)
    if not candidates:
        return
    from cli.front import are_estimated, front_columns

    estimated = are_estimated(candidates)
    write_line()
    write_table(
        [*front_columns(is_estimated=estimated), Column("status"), Column("reason")],
        [(*usual_cells(each, is_estimated=estimated), each.status, each.reason or "") for each in candidates],
    )


def pareto(
    name: RunName,
    objectives: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Other objectives than the run's, such as accuracy,macs or loss:min."
        ),
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(
            metavar="REWARD",
            help="Rank them by this, such as effnetv2 or accuracy*step_ms^-0.1; see nas search --help.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the candidates that no other dominates."""
    from cli.front import write_front
    from nas.objectives import parse_objectives
    from results.run import load_run, member_summary

    run = load_run(name)
    chosen = run.objectives if objectives is None else parse_objectives(parse_names(objectives))
    members = run.pareto(chosen)
    names = [objective.name for objective in chosen]
    rewards: dict[int, float | None] = {}
    if reward is not None:
        from nas.ranking import rank

        rewards = {member.id: score for member, score in rank(members, reward)}
        members = tuple(sorted(members, key=lambda member: list(rewards).index(member.id)))
    if as_json:
        write_json(
            {
                "run": run.summary()["run"],
                **({"estimated": True} if run.is_estimated else {}),
                "objectives": [str(objective) for objective in chosen],
                "front": [
                    member_summary(member)
                    | member.values(names)
                    | ({"reward": rewards[member.id]} if rewards else {})
                    for member in members
                ],
                "hypervolume": run.hypervolume(objectives=chosen),
            }
        )
        return
    if members:
        write_front(run, members, names)
        if rewards:
            best = ", ".join(
                f"{number} ({'-' if score is None else f'{score:.4g}'})" for number, score in rewards.items()
            )
            write_line(f"by {reward}, best first: {best}")
    else:
        write_line(f"no candidate of {run.name} has {', '.join(names)}")


def resume(
    name: RunName,
    candidates: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="A larger number to evaluate in all.")
    ] = None,
    executor: Annotated[str | None, typer.Option(metavar="ray|local", help="Where jobs run now.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, metavar="K", help="Jobs at once.")] = None,
    ray_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of another Ray cluster.")
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Let Ray go without authentication.")
    ] = None,
    time_budget: Annotated[
        float | None, typer.Option(**DURATION, help="Propose nothing after this, such as 2h.")
    ] = None,
    max_failed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Stop when more candidates fail in all.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Give jobs that broke one more attempt.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Go on with a run that was interrupted; nothing that is measured is measured again."""
    from cli.running import require_executor, supervised
    from results.directory import read_config
    from results.run import find_run

    path = find_run(name)
    given = {
        "candidates": candidates,
        "executor": executor,
        "workers": workers,
        "ray_address": ray_address,
        "insecure": insecure,
        "time_budget_seconds": time_budget,
        "max_failed": max_failed,
    }
    changes = {key: value for key, value in given.items() if value is not None}
    require_executor(str(executor or (read_config(path).get("config") or {}).get("executor")))

    def go_on(progress: "Progress") -> "Run":
        from nas.api import resume as resume_run

        return resume_run(path, progress=progress, changes=changes, retry_failed=retry_failed)

    supervised(go_on, as_json=as_json, run=path)
