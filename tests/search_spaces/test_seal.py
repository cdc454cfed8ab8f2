"""A sealed document is what was written, or is refused."""

import hashlib
import random
from pathlib import Path

import pytest

from search_spaces.document import load_architecture
from search_spaces.nodes import DocumentError
from search_spaces.seal import BLANK, FILE_SEAL, is_broken, is_broken_bytes, seal, seal_bytes

TEXT = """\
schema: nas.architecture/1
stem: {width: 8}
stages:
  - {stride: 2, depth: 1, width: 16, block: {op: mbconv, expand: 4}}
head: {width: 32}
"""


def test_a_sealed_document_is_the_same_document(tmp_path: Path) -> None:
    (tmp_path / "plain.yaml").write_text(TEXT)
    (tmp_path / "sealed.yaml").write_text(seal(TEXT))
    assert load_architecture(tmp_path / "sealed.yaml") == load_architecture(tmp_path / "plain.yaml")
    assert not is_broken(TEXT)
    assert not is_broken("")
    assert is_broken(seal(TEXT).replace("width: 8", "width: 16"))


def test_of_100_copies_with_a_flipped_bit_none_is_taken_for_another_network(tmp_path: Path) -> None:
    rng, refused = random.Random(0), 0
    sealed = seal(TEXT).encode()
    path = tmp_path / "flipped.yaml"
    for _ in range(100):
        at = rng.randrange(len(TEXT))
        content = bytearray(sealed)
        content[at] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        with pytest.raises(DocumentError):
            load_architecture(path)
        refused += 1
    assert refused == 100


def test_whoever_edits_a_document_is_told_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "edited.yaml"
    edited = seal(TEXT).replace("width: 16", "width: 24")
    path.write_text(edited)
    with pytest.raises(
        DocumentError, match=r"edited.yaml: changed since it was written.*delete its last line"
    ):
        load_architecture(path)
    path.write_text("\n".join(edited.splitlines()[:-1]) + "\n")
    assert load_architecture(path)


@pytest.mark.parametrize("form", ['{{"{key}":"{value}"}}', "\n\x0c{key}\x12@{value}"])
def test_a_binary_file_is_sealed_by_an_entry_of_its_own(form: str) -> None:
    body = bytes(range(256)) * 3
    blank = form.format(key=FILE_SEAL, value=BLANK).encode() + body
    sealed = seal_bytes(blank)
    assert len(sealed) == len(blank)
    assert is_broken_bytes(sealed) is False
    assert is_broken_bytes(blank) is True
    digits = hashlib.sha256(blank).hexdigest().encode()
    assert sealed == blank.replace(BLANK.encode(), digits)  # as anybody can check
    for at in range(len(sealed)):
        flipped = sealed[:at] + bytes([sealed[at] ^ 4]) + sealed[at + 1 :]
        assert is_broken_bytes(flipped) is not False, at


def test_a_binary_file_without_an_entry_has_no_seal() -> None:
    assert is_broken_bytes(b"") is None
    assert is_broken_bytes(FILE_SEAL.encode()) is None
    with pytest.raises(ValueError, match="no blank file_sha256"):
        seal_bytes(b"anything")
