"""`nas search`: from options and files to a configuration, a search, and its front."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import (
    COMPLETE_HARDWARE,
    COMPLETE_RUN,
    COMPLETE_SPACE,
    COMPLETE_STRATEGY,
    DURATION,
    SIZE,
    Json,
)
from cli.output import Column, note, write_json, write_line, write_table
from cli.running import require_executor, supervised
from cli.values import format_count, format_duration, parse_names

if TYPE_CHECKING:
    from nas.api import DryRun
    from nas.config import SearchConfig
    from nas.progress import Progress
    from results.run import Run

CHOOSING = "What is looked for"
SPARING = "What is spared"
MEASURING = "What is measured"
RUNNING = "How it runs"
KEEPING = "What is kept and reused"


def search(
    space: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FILE", help="Where to search; default effnetv2.", autocompletion=COMPLETE_SPACE
        ),
    ] = None,
    hardware: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="What the networks are to train fast on; default auto, which takes what is here.",
            autocompletion=COMPLETE_HARDWARE,
        ),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Networks to evaluate; default 64.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How candidates are proposed; default surrogate.",
            autocompletion=COMPLETE_STRATEGY,
        ),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Separated by commas, with :min or :max where that is not known;"
            " default accuracy,step_ms,params.",
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="BOUND", help='Such as "params<=30e6" or "step_ms<=50". Repeatable.'),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="BOUND",
            help='Such as "step_ms<=40": look for the most accurate network within it.',
            rich_help_panel=CHOOSING,
        ),
    ] = None,
    reward: Annotated[
        str | None,
        typer.Option(
            metavar="REWARD",
            help="What ranks the front, and what strategies of one objective climb: effnetv2,"
            " mnasnet-soft:step_ms=40, mnasnet-hard:step_ms=40, accuracy*step_ms^-0.1;"
            " default: the product of the objectives.",
            rich_help_panel=CHOOSING,
        ),
    ] = None,
    warm_start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="Tell the strategy what this run found, and begin with its front. Repeatable.",
            autocompletion=COMPLETE_RUN,
            rich_help_panel=CHOOSING,
        ),
    ] = None,
    gate: Annotated[
        bool | None,
        typer.Option(
            "--gate/--no-gate",
            help="Train nothing that would be dominated even if it went well; default: so.",
            rich_help_panel=SPARING,
        ),
    ] = None,
    predict_steps: Annotated[
        float | None,
        typer.Option(
            metavar="WIDTH",
            help="Predict step times from those measured where the interval is within this share (0.05: 5 %)"
            " and the front does not hang on it; default: measure all.",
            rich_help_panel=SPARING,
        ),
    ] = None,
    early_stopping: Annotated[
        str | None,
        typer.Option(
            metavar="none|halving",
            help="Stop trainings that fall behind others of theirs; default none.",
            rich_help_panel=SPARING,
        ),
    ] = None,
    halving_reduction: Annotated[
        float | None,
        typer.Option(
            metavar="N", help="Of so many at a rung one goes on; default 2.", rich_help_panel=SPARING
        ),
    ] = None,
    halving_first: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="STEP", help="The first rung, a report's step; default 2.", rich_help_panel=SPARING
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the random numbers; default 0.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Settings in YAML, or any run.yaml; options given here come first."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and start nothing.")
    ] = False,
    as_json: Json = False,
    estimate: Annotated[
        bool | None,
        typer.Option(
            "--estimate",
            help="Estimate step times for --hardware that is not here; measure none. Training runs here.",
            rich_help_panel=MEASURING,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Data to train on; default: the proxy's.", rich_help_panel=MEASURING
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FILE",
            help="The short training; default auto, which suits the hardware.",
            rich_help_panel=MEASURING,
        ),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            min=1, help="Pixels of a timed step; default: the hardware's.", rich_help_panel=MEASURING
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Images of a timed step; default: the hardware's.", rich_help_panel=MEASURING
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="P", help="Of a timed step: fp32, tf32, bf16 or fp16.", rich_help_panel=MEASURING
        ),
    ] = None,
    inference_batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images of a timed inference, where an objective asks for it; default: those of a step.",
            rich_help_panel=MEASURING,
        ),
    ] = None,
    executor: Annotated[
        str | None,
        typer.Option(metavar="ray|local", help="Where jobs run; default ray.", rich_help_panel=RUNNING),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="K",
            help="Jobs at once; default: one a device, two on a CPU.",
            rich_help_panel=RUNNING,
        ),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a Ray cluster.", rich_help_panel=RUNNING)
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="Let Ray go without authentication.", rich_help_panel=RUNNING),
    ] = None,
    time_budget: Annotated[
        float | None,
        typer.Option(**DURATION, help="Propose nothing after this, such as 2h.", rich_help_panel=RUNNING),
    ] = None,
    candidate_timeout: Annotated[
        float | None,
        typer.Option(**DURATION, help="A job is given up after this; default 30m.", rich_help_panel=RUNNING),
    ] = None,
    memory_limit: Annotated[
        int | None,
        typer.Option(**SIZE, help="A job may take this much memory, such as 2GiB.", rich_help_panel=RUNNING),
    ] = None,
    max_failed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Stop when more candidates fail.", rich_help_panel=RUNNING),
    ] = None,
    allow_plugins: Annotated[
        bool | None,
        typer.Option(
            "--allow-plugins", help="Load installed plug-ins, which runs their code.", rich_help_panel=RUNNING
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run's directory.", rich_help_panel=KEEPING)
    ] = None,
    keep_weights: Annotated[
        bool | None,
        typer.Option("--keep-weights", help="Keep what was trained.", rich_help_panel=KEEPING),
    ] = None,
    reuse: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="Reuse this run's measurements; default: those of all runs. Repeatable.",
            autocompletion=COMPLETE_RUN,
            rich_help_panel=KEEPING,
        ),
    ] = None,
    no_reuse: Annotated[
        bool | None,
        typer.Option("--no-reuse", help="Measure everything anew.", rich_help_panel=KEEPING),
    ] = None,
) -> None:
    """Search a space for networks that are accurate and train fast."""
    if reuse and no_reuse:
        raise typer.BadParameter("cannot be given with --reuse", param_hint="'--no-reuse'")
    given = {
        "space": space,
        "hardware": hardware,
        "candidates": candidates,
        "strategy": strategy,
        "objectives": None if objectives is None else parse_names(objectives),
        "limits": tuple(limit) if limit else None,
        "target": target,
        "reward": reward,
        "warm_start": tuple(warm_start) if warm_start else None,
        "gate": gate,
        "predict_steps": predict_steps,
        "early_stopping": early_stopping,
        "halving_reduction": halving_reduction,
        "halving_first": halving_first,
        "seed": seed,
        "data": data,
        "proxy": proxy,
        "resolution": resolution,
        "batch": batch,
        "precision": precision,
        "inference_batch": inference_batch,
        "executor": executor,
        "workers": workers,
        "ray_address": ray_address,
        "insecure": insecure,
        "time_budget_seconds": time_budget,
        "candidate_timeout_seconds": candidate_timeout,
        "memory_limit_bytes": memory_limit,
        "max_failed": max_failed,
        "allow_plugins": allow_plugins,
        "out": None if out is None else str(out),
        "estimate": estimate,
        "keep_weights": keep_weights,
        "reuse": tuple(reuse) if reuse else None,
        "no_reuse": no_reuse,
    }
    resolved = _resolve(given, config)
    if dry_run:
        from nas.api import plan

        _show_plan(plan(resolved), as_json=as_json)
        return

    def start(progress: "Progress") -> "Run":
        from nas.api import search as run_search

        return run_search(resolved, progress=progress)

    supervised(start, as_json=as_json)


def _resolve(given: Mapping[str, Any], file: Path | None) -> "SearchConfig":
    """The configuration: options before the file, the file before the defaults.

    Hardware and executor that are not here are refused now, before anything heavy is loaded; the hardware
    of a cluster is the cluster's to know.
    """
    from nas.config import make_config, read_config_file
    from proxies.hardware import resolve_hardware

    settings = read_config_file(file) if file is not None else {}
    settings |= {name: value for name, value in given.items() if value is not None}
    if given["reuse"]:
        settings.pop("no_reuse", None)
    if given["no_reuse"]:
        settings.pop("reuse", None)
    config = make_config(settings)
    if config.estimate:
        from proxies.estimates import profile_to_estimate

        profile, remark = profile_to_estimate(config.hardware)
        note(f"step times are estimated for {profile.name}, not measured; training runs here")
        if remark is not None:
            note(remark)
    elif config.ray_address is None:
        for text in resolve_hardware(config.hardware).notes:
            note(text)
    require_executor(config.executor)
    return config


def _show_plan(found: "DryRun", *, as_json: bool) -> None:
    """What a search would do."""
    from proxies.estimates import basis

    plan = found.plan
    samples: list[dict[str, Any]] = [
        {
            "digest": arch.digest,
            "params": total.params,
            "macs": total.macs,
            "architecture": arch.to_document(),
        }
        for arch, total in found.samples
    ]
    if as_json:
        prediction = {"predicted_seconds": found.predicted_seconds, "prediction": found.prediction}
        document = plan.document()
        document["space"] = {**document["space"], "size": plan.space.size}  # run.yaml holds it as text
        write_json(document | {"samples": samples} | prediction)
        return
    for key, value in plan.config.model_dump(mode="json").items():
        if value not in (None, [], False):
            write_line(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    if plan.estimated is not None:
        write_line(f"step times: estimated for {plan.estimated.name}, not measured ({basis(plan.estimated)})")
    write_line(f"device: {plan.hardware.device} ({plan.hardware.profile.name}), {plan.workers} workers")
    sign = "" if plan.space.size_is_exact else "<= "
    write_line(f"size of {plan.space.name}: {sign}{format_count(plan.space.size)} architectures")
    write_line()
    write_table(
        [Column("a member"), Column("params", is_number=True), Column("MACs", is_number=True)],
        [(each["digest"][:12], format_count(each["params"]), format_count(each["macs"])) for each in samples],
    )
    write_line()
    seconds = found.predicted_seconds
    write_line(
        f"predicted: {'unknown' if seconds is None else format_duration(seconds)} ({found.prediction})"
    )
    note(
        f"MACs: multiply-adds for one image of {plan.space.resolution} px, 1,000 classes; nothing was started"
    )
