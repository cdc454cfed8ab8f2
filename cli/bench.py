"""`nas bench`: how good the parts are, on a table of measured networks and without a GPU."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import COMPLETE_SPACE, AllowPlugins, Json, load_plugins
from cli.output import Column, write_json, write_line, write_table
from cli.values import parse_names

if TYPE_CHECKING:
    from nas.oracle import Oracle
    from nas.strategy_bench import BenchPlan, Trace
    from results.run import Run
    from results.table import Table
    from search_spaces.space import Space

PREDICTING = "Predictors"
SEARCHING = "Strategies"


def bench(
    table: Annotated[
        str,
        typer.Argument(metavar="TABLE.csv|RUN", help="Networks and what was measured, or a run of yours."),
    ],
    space: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="The space that holds them; default: the run's.",
            autocompletion=COMPLETE_SPACE,
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help='Rows to leave out, such as "train_seconds>4500".'),
    ] = None,
    as_json: Json = False,
    allow_plugins: AllowPlugins = False,
    maximize: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="An objective. Repeatable.", rich_help_panel=SEARCHING),
    ] = None,
    minimize: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="An objective; a cost is exact. Repeatable.", rich_help_panel=SEARCHING
        ),
    ] = None,
    strategies: Annotated[
        str,
        typer.Option(metavar="NAMES", help="Separated by commas.", rich_help_panel=SEARCHING),
    ] = "random,evolution,nsga2,tpe,surrogate",
    budget: Annotated[int, typer.Option(min=1, help="Evaluations.", rich_help_panel=SEARCHING)] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions.", rich_help_panel=SEARCHING)] = 20,
    oracle: Annotated[
        str,
        typer.Option(
            metavar="model|table",
            help="A model of the table, or its rows alone.",
            rich_help_panel=SEARCHING,
        ),
    ] = "model",
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="VALUES",
            help="Worst values that count, one an objective; default: 1st or 99th percentile.",
            rich_help_panel=SEARCHING,
        ),
    ] = None,
    ideal: Annotated[
        str | None,
        typer.Option(metavar="VALUES", help="Best values, likewise.", rich_help_panel=SEARCHING),
    ] = None,
    noise: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Noise of the answers, in multiples of what the model leaves unexplained.",
            rich_help_panel=SEARCHING,
        ),
    ] = 0.0,
    parallel: Annotated[
        int, typer.Option(min=1, help="Evaluations on their way at once.", rich_help_panel=SEARCHING)
    ] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes to replay in.", rich_help_panel=SEARCHING)] = 1,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draw the comparison: .png, .svg, .pdf or .html (extra plot).",
            rich_help_panel=SEARCHING,
        ),
    ] = None,
    predict: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Predict this column instead; a rate is turned into a time.",
            rich_help_panel=PREDICTING,
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, help="Rows to fit; all others test.", rich_help_panel=PREDICTING)
    ] = 100,
    splits: Annotated[
        int, typer.Option(min=1, help="Random splits to average over.", rich_help_panel=PREDICTING)
    ] = 20,
    roofline: Annotated[
        str | None,
        typer.Option(
            metavar="HARDWARE",
            help="Predict by this profile's roofline, fitted to nothing but one factor.",
            rich_help_panel=PREDICTING,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="COLUMN",
            help="Fit this column, and carry it over by a few anchors.",
            rich_help_panel=PREDICTING,
        ),
    ] = None,
    anchors: Annotated[
        int,
        typer.Option(
            min=1, help="Rows of the predicted column that --from sees.", rich_help_panel=PREDICTING
        ),
    ] = 10,
) -> None:
    """Compare search strategies on a table of measured networks, or say how well a column is predicted."""
    load_plugins(allow_plugins)
    networks, found, run = _networks(table, space, drop or [])
    if predict is not None:
        from cli.bench_prediction import run_prediction

        run_prediction(
            networks,
            found,
            predict,
            roofline=roofline,
            source=source,
            anchors=anchors,
            rows=rows,
            splits=splits,
            as_json=as_json,
        )
        return
    if run is not None and not maximize and not minimize:
        maximize = [each.name for each in run.objectives if each.direction == "maximize"]
        minimize = [each.name for each in run.objectives if each.direction == "minimize"]
    if not maximize and not minimize:
        raise typer.BadParameter(
            "name objectives with --maximize and --minimize, or a column with --predict",
            param_hint="'--maximize'",
        )
    if oracle not in ("model", "table"):
        raise typer.BadParameter(f"{oracle!r} is not model or table", param_hint="'--oracle'")
    asked, plan = _plan(
        networks,
        found,
        kind=oracle,
        maximize=maximize or [],
        minimize=minimize or [],
        reference=reference,
        ideal=ideal,
        strategies=parse_names(strategies),
        budget=budget,
        seeds=seeds,
        noise=noise,
        parallel=parallel,
    )
    if plot is not None:
        _check_plot(plot)
    traces = _replayed(asked, plan, jobs)
    document = _document(asked, plan, traces)
    if plot is not None:
        from nas.strategy_plot import comparison

        comparison(plan, traces).save(plot)
    if as_json:
        write_json(document)
    else:
        _write_comparison(document)


def _check_plot(file: Path) -> None:
    """Refuse a plot that cannot be drawn before minutes are spent on what it would show."""
    from importlib.util import find_spec

    from results.plots.chart import FORMATS

    form = file.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise typer.BadParameter(f"{file} does not end in .{', .'.join(FORMATS)}", param_hint="'--plot'")
    library = "plotly" if form == "html" else "matplotlib"
    if find_spec(library) is None:
        raise typer.BadParameter(
            f"needs {library}; pip install 'training-aware-nas[plot]'", param_hint="'--plot'"
        )


def _networks(name: str, space: str | None, drop: Sequence[str]) -> "tuple[Table, Space, Run | None]":
    """A table from a file or from a run, whose space need not be named."""
    from results.table import read_table, table_of_run
    from search_spaces.space_document import load_space

    if Path(name).is_file() or name.endswith(".csv"):
        if space is None:
            raise typer.BadParameter("is needed with a table", param_hint="'--space'")
        found = load_space(space)
        return read_table(name, found, drop=drop), found, None
    from results.run import load_run

    run = load_run(name)
    found = load_space(space or str((run.config.get("config") or {}).get("space")))
    return table_of_run(run, found, drop=drop), found, run


def _plan(
    table: "Table",
    space: "Space",
    *,
    kind: str,
    maximize: Sequence[str],
    minimize: Sequence[str],
    reference: str | None,
    ideal: str | None,
    **settings: Any,
) -> "tuple[Oracle, BenchPlan]":
    from nas.strategy_bench import BenchPlan, default_box, make_oracle
    from results.pareto import Objective

    objectives = (
        *(Objective(name=name, direction="maximize") for name in maximize),
        *(Objective(name=name, direction="minimize") for name in minimize),
    )
    oracle = make_oracle(kind, table, space, objectives)  # type: ignore[arg-type]  # checked by the caller
    low, high = default_box(oracle, objectives, table)
    # Values that are not given, such as those of a third objective, are the default's.
    low = _filled(reference, low, "--reference")
    high = _filled(ideal, high, "--ideal")
    plan = BenchPlan(objectives=objectives, reference=tuple(low), ideal=tuple(high), **settings)
    return oracle, plan


def _filled(text: str | None, default: list[float], option: str) -> list[float]:
    """The numbers of an option, continued by the defaults."""
    if text is None:
        return default
    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not numbers separated by commas", param_hint=option) from None
    if len(given) > len(default):
        raise typer.BadParameter(
            f"{len(given)} values for {len(default)} objectives", param_hint=f"'{option}'"
        )
    return given + default[len(given) :]


def _replayed(oracle: "Oracle", plan: "BenchPlan", jobs: int) -> "dict[str, list[Trace]]":
    """All replays, with a bar on stderr where a terminal reads it."""
    import sys

    from cli.output import is_plain
    from nas.strategy_bench import compare

    if is_plain(sys.stderr):
        return compare(oracle, plan, jobs=jobs)
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replaying", total=plan.seeds * len(plan.strategies))
        return compare(oracle, plan, jobs=jobs, done=lambda name: progress.advance(task))


def _document(oracle: "Oracle", plan: "BenchPlan", traces: "Mapping[str, list[Trace]]") -> dict[str, Any]:
    """The comparison as plain JSON."""
    import numpy as np

    from nas.oracle import ModelOracle
    from nas.strategy_bench import checkpoints, evaluations_to_reach, interval, significance

    fits = oracle.fits if isinstance(oracle, ModelOracle) else {}
    ends = {name: float(np.mean([each.hypervolume[-1] for each in found])) for name, found in traces.items()}
    return {
        "budget": plan.budget,
        "seeds": plan.seeds,
        "parallel": plan.parallel,
        "noise": plan.noise,
        "objectives": [str(objective) for objective in plan.objectives],
        "reference": list(plan.reference),
        "ideal": list(plan.ideal),
        "oracle": {
            name: {"kendall_tau": fit.kendall_tau, "scatter": fit.scatter} for name, fit in fits.items()
        },
        "strategies": {
            name: {
                "hypervolume": {
                    str(at): asdict(interval(np.array([each.hypervolume[at - 1] for each in found])))
                    for at in checkpoints(plan.budget)
                },
                "seconds_per_proposal": float(np.mean([each.seconds_per_proposal for each in found])),
                "evaluations_to_reach": {
                    other: evaluations_to_reach(found, level)
                    for other, level in ends.items()
                    if other != name
                },
            }
            for name, found in traces.items()
        },
        "significance": {name: asdict(found) for name, found in significance(traces).items()},
    }


def _write_comparison(document: Mapping[str, Any]) -> None:
    strategies: Mapping[str, Any] = document["strategies"]
    points = list(next(iter(strategies.values()))["hypervolume"])
    write_table(
        [
            Column("strategy"),
            *(Column(f"at {point}", True) for point in points),
            Column("ms a proposal", True),
            Column("against the best other"),
        ],
        [
            (
                name,
                *(_cell(found["hypervolume"][point]) for point in points),
                f"{1e3 * found['seconds_per_proposal']:.1f}",
                _against(document["significance"].get(name), document["seeds"]),
            )
            for name, found in strategies.items()
        ],
    )
    write_line()
    box = ", ".join(
        f"{name.partition(':')[0]} {low:g} to {high:g}"
        for name, low, high in zip(
            document["objectives"], document["reference"], document["ideal"], strict=True
        )
    )
    write_line(
        f"hypervolume as a share of the box ({box}) after so many evaluations: mean [95 % interval] of"
        f" {document['seeds']} seeds"
    )
    if document["oracle"]:
        ranks = ", ".join(f"{name} {fit['kendall_tau']:.3f}" for name, fit in document["oracle"].items())
        write_line(f"answers are those of models of the table; Kendall's tau on held-out rows: {ranks}")
    else:
        write_line("answers are rows of the table, and nothing else was proposed")


def _cell(found: Mapping[str, float]) -> str:
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _against(found: Mapping[str, Any] | None, seeds: int) -> str:
    if found is None:
        return ""
    p = "p unknown" if found["p"] is None else f"p {found['p']:.2g}"
    return f"{found['baseline']}: better in {found['wins']} of {seeds}, {p}"
