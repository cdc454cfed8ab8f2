"""A Pareto front, as a table that says what its numbers are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cli.output import Column, write_line, write_table
from cli.values import format_count, format_duration

if TYPE_CHECKING:
    from results.candidate import CandidateResult
    from results.run import Run

USUAL = ("accuracy", "step_ms", "step_ratio", "params", "macs")
COLUMNS = (
    Column("id", is_number=True),
    Column("accuracy", is_number=True),
    Column("step ms [95 % interval]", is_number=True),
    Column("ratio", is_number=True),
    Column("params", is_number=True),
    Column("MACs", is_number=True),
)
ESTIMATED_COLUMNS = (
    *COLUMNS[:2],
    Column("estimated step ms [range]", is_number=True),
    *COLUMNS[4:],
)
PROVISIONAL_MARK = "~"
ESTIMATED = "estimated_"
STEPS = {
    "training": "step: forward, backward and optimizer",
    "inference": "inference: forward pass in evaluation mode",
    "onnx-inference": "onnx: forward pass in ONNX Runtime",
}


def write_front(run: "Run", members: Sequence["CandidateResult"], extra: Sequence[str] = ()) -> None:
    """The members of a front; `extra` names further quantities that get a column."""
    added = [name for name in extra if name not in (*USUAL, "estimated_step_ms")]
    estimated = are_estimated(members)
    write_table(
        [*front_columns(is_estimated=estimated), *(Column(name, is_number=True) for name in added)],
        [
            (
                *usual_cells(member, is_estimated=estimated),
                *(format_count(member.value(name)) for name in added),
            )
            for member in members
        ],
    )
    write_line()
    if any(member.is_provisional for member in members):
        write_line(
            f"{PROVISIONAL_MARK} provisional: the step time missed its tolerance, so the place is not certain"
        )
    write_line(_conditions(run, members))


def are_estimated(members: Sequence["CandidateResult"]) -> bool:
    """Whether step times are estimates; those of a run are all measured or all estimated."""
    return any(member.is_estimated for member in members)


def front_columns(*, is_estimated: bool) -> tuple[Column, ...]:
    """The columns of `usual_cells`; estimates have no ratio to a reference network."""
    return ESTIMATED_COLUMNS if is_estimated else COLUMNS


def usual_cells(member: "CandidateResult", *, is_estimated: bool = False) -> tuple[str, ...]:
    """What goes under `front_columns`: number, accuracy, step time, ratio, parameters and multiply-adds."""
    accuracy = member.accuracy
    ratio = member.value("step_ratio")
    return (
        f"{member.id}{PROVISIONAL_MARK if member.is_provisional else ''}",
        "-" if accuracy is None else f"{accuracy:.4f}",
        _step_time(member, prefix=ESTIMATED if is_estimated else ""),
        *(() if is_estimated else ("-" if ratio is None else f"{ratio:.3f}",)),
        format_count(member.cost.params),
        format_count(member.cost.macs),
    )


def _step_time(member: "CandidateResult", *, prefix: str) -> str:
    low, middle, high = (
        member.value(f"{prefix}{name}") for name in ("step_ms_low", "step_ms", "step_ms_high")
    )
    if middle is None:
        return "-"
    interval = f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else ""
    return f"{middle:.2f}{interval}"


def _conditions(run: "Run", members: Sequence["CandidateResult"]) -> str:
    """What was measured, on what; the timing's own settings where a member has them."""
    for member in members:
        for record in run.records(member):
            if record.outcome.kind != "train" and "settings" in record.outcome.details:
                return conditions(record.outcome.details) + f"; MACs at {member.resolution} px"
    return "step times were not measured"


def conditions(details: Mapping[str, Any]) -> str:
    """What a step time is a step time of, as a sentence."""
    settings: Mapping[str, Any] = details.get("settings") or {}
    hardware: Mapping[str, Any] = details.get("hardware") or {}
    device = hardware.get("device") or "an unknown device"
    compiled = settings.get("compile")
    if details.get("estimated"):
        return (
            f"step: estimated, not measured: forward, backward and optimizer, batch"
            f" {settings.get('batch_size')} at {settings.get('resolution')} px, {settings.get('precision')},"
            f" on {device}; {details.get('basis')}; range: that of the published speeds"
        )
    work = settings.get("work", "training")
    layout = "" if work == "onnx-inference" else f", {settings.get('memory_format')}"
    return (
        f"{STEPS.get(work, work)}, batch {settings.get('batch_size')} at"
        f" {settings.get('resolution')} px, {settings.get('precision')}{layout}"
        f"{', fused optimizer' if settings.get('fused_optimizer') else ''}"
        f"{f', compile {compiled}' if compiled not in (None, 'none') else ''}"
        f"{', without autotuning' if settings.get('autotune') is False else ''},"
        f" on {device}; ratio: to the reference network"
    )


def write_run(run: "Run") -> None:
    """The outcome of a search: the front, how much was tried, and where it is kept."""
    summary = run.summary()
    members = run.pareto()
    if members:
        write_front(run, members, [objective.name for objective in run.objectives])
    else:
        write_line("nothing was measured, so there is no front")
    volume = "-" if summary["hypervolume"] is None else f"{summary['hypervolume']:.6g}"
    quantity = "hypervolume of estimates" if run.is_estimated else "hypervolume"
    write_line(
        f"{summary['evaluated']} evaluated, {summary['failed']} failed,{_spared(summary)}"
        f" {len(members)} on the front,"
        f" {quantity} {volume}, {format_duration(summary['wall_seconds'])}"
    )
    if "predicted_steps" in summary:
        count = summary["predicted_steps"]
        write_line(
            f"step times predicted for {count['predicted']}: {count['not_timed']} not timed;"
            f" {count['timed']} timed after all, {count['inside_interval']} of them inside the interval"
        )
    write_line(f"run: {summary['run']}")


def _spared(summary: Mapping[str, Any]) -> str:
    """What was not trained to the end, where anything was not."""
    words = {"stopped": "stopped early", "gated": "not worth training"}
    return "".join(f" {summary[name]} {word}," for name, word in words.items() if summary[name])
