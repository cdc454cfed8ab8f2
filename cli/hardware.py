"""`nas hardware`: the hardware profiles, and which of them is here."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import COMPLETE_HARDWARE, Json
from cli.output import Column, note, write_json, write_line, write_table

if TYPE_CHECKING:
    from proxies.detection import Machine
    from proxies.hardware import HardwareProfile

app = typer.Typer(help="Hardware profiles: list, show.", no_args_is_help=True)


@app.command("list")
def list_hardware(as_json: Json = False) -> None:
    """List the hardware profiles and mark those that this machine is."""
    from proxies.detection import find_machine
    from proxies.hardware import load_profile, profile_names

    machine = find_machine()
    profiles = [load_profile(name) for name in profile_names()]
    if as_json:
        write_json(
            [
                {
                    "name": profile.name,
                    "kind": profile.kind,
                    "description": profile.description,
                    "here": _devices(profile, machine),
                }
                for profile in profiles
            ]
        )
        return
    write_table(
        [Column("hardware"), Column("kind"), Column("description"), Column("here")],
        [
            (profile.name, profile.kind, profile.description, ", ".join(_devices(profile, machine)))
            for profile in profiles
        ],
    )
    note(f"found on this machine: {machine}; a100 means either A100, auto what is here")


@app.command("show")
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME_OR_FILE", help="A profile or a YAML file.", autocompletion=COMPLETE_HARDWARE
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show one hardware profile and the devices here that it recognises."""
    from proxies.detection import find_machine
    from proxies.hardware import AUTO, load_profile, resolve_hardware

    profile = resolve_hardware(AUTO).profile if name == AUTO else load_profile(name)
    document = profile.model_dump(mode="json", by_alias=True) | {"here": _devices(profile, find_machine())}
    if as_json:
        write_json(document)
        return
    for key, value in _flat(document):
        write_line(f"{key}: {value}")


def _devices(profile: "HardwareProfile", machine: "Machine") -> list[str]:
    """The usable devices of this machine that a profile recognises."""
    return [
        str(device)
        for device in (*machine.accelerators, machine.cpu)
        if device.defect is None and profile.recognises(device)
    ]


def _flat(document: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """Every value under its dotted key; what is not set is left out."""
    lines: list[tuple[str, object]] = []
    for key, value in document.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            lines.append((f"{prefix}{key}", ", ".join(map(str, value)) or "none"))
        elif value is not None:
            lines.append((f"{prefix}{key}", value))
    return lines
