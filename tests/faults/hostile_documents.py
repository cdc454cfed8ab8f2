"""Bad documents of every kind, given to every reader: what a user would be shown, and how long it took."""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cli.errors import problem_lines
from nas.config import make_config, read_config_file
from proxies.hardware import load_profile
from proxies.task import TASK_FOLDER, load_task
from search_spaces.document import load_architecture
from search_spaces.shipped import ARCHITECTURES, SPACES
from search_spaces.space_document import load_space

MAX_SECONDS = 2.0
FOLDER = Path(__file__).parents[1] / "search_spaces"
CONFIG = """
schema: nas.run/1
config: {space: tiny, candidates: 12, strategy: evolution, objectives: [accuracy], limits: ["params<=30e6"]}
"""
Reader = Callable[[Path], Any]
READERS: dict[str, Reader] = {
    "architecture": load_architecture,
    "space": load_space,
    "hardware": load_profile,
    "task": load_task,
    "configuration": lambda path: make_config(read_config_file(path)),
}


def shipped() -> dict[str, list[str]]:
    """Sound documents of each kind, which are mutated."""
    hardware = Path(load_profile.__globals__["PROFILE_FOLDER"])
    folders = {"architecture": ARCHITECTURES, "space": SPACES, "hardware": hardware, "task": TASK_FOLDER}
    found = {
        kind: [path.read_text() for path in sorted(Path(folder).glob("*.yaml"))[:6]]
        for kind, folder in folders.items()
    }
    return {**found, "configuration": [CONFIG]}


def written() -> Iterator[str]:
    """The broken documents that were written by hand."""
    import test_bad_documents as bad

    for file, base in (("bad_architectures.txt", bad.ARCHITECTURE), ("bad_spaces.txt", bad.SPACE)):
        for case in bad.cases(file, base):
            yield case.values[0]
    yield from (text for text, _ in bad.NOT_YAML)
    yield from bad.HOSTILE.values()


def mutated(rng: random.Random) -> tuple[str, str]:
    """A sound document with a few pieces of it replaced, and its kind."""
    from test_bad_documents import PIECES

    kind = rng.choice(list(READERS))
    text = rng.choice(shipped()[kind])
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(len(text))
        end = min(len(text), start + rng.choice([0, 0, 1, 3, 12, 40]))
        text = text[:start] + rng.choice([*PIECES, text[end : end + 20]]) + text[end:]
    return kind, text


def try_document(text: str, reader: Reader) -> str | None:
    """None where the document is read, or refused in plain words and in time; else what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "document.yaml"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        started = time.process_time()
        problem = None
        try:
            reader(path)
        except Exception as error:  # noqa: BLE001 -- that is the question
            lines = problem_lines(error)
            if not lines or lines[0].startswith("error: internal error"):
                problem = " ".join(lines) or f"{type(error).__name__} without a word"
        seconds = time.process_time() - started
        return problem or (f"{seconds:.1f} s" if seconds > MAX_SECONDS else None)


def try_all(rng: random.Random, num_mutated: int, *, thin: int = 1) -> tuple[int, int, list[str]]:
    """How many written and mutated documents were tried, and each that went wrong."""
    wrong, num_written = [], 0
    for text in list(written())[::thin]:
        num_written += 1
        wrong += [found for reader in READERS.values() if (found := try_document(text, reader))]
    for _ in range(num_mutated):
        kind, text = mutated(rng)
        if found := try_document(text, READERS[kind]):
            wrong.append(f"{kind}: {found}")
    return num_written, num_mutated, wrong
