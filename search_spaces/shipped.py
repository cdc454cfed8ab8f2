"""The documents that come with the package: their names, and what each says of itself.

Needs no more than the standard library, so that listings and shell completion answer at once.
"""

from pathlib import Path

SPACES = Path(__file__).parent / "spaces"
ARCHITECTURES = Path(__file__).parent / "architectures"
_NOTES = "notes: "


def shipped_names(folder: Path) -> tuple[str, ...]:
    """The names of the documents in one of the folders above, in alphabetical order."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def shipped_notes(folder: Path, name: str) -> str | None:
    """The `notes` of a shipped document; None when it has none.

    Shipped documents keep them on one plain line, which is found without a YAML parser.
    """
    lines = (folder / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix(_NOTES) for line in lines if line.startswith(_NOTES)), None)
