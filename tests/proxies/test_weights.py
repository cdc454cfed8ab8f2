"""A file of weights says whose they are, and is what was written or is refused."""

import hashlib
import json
import random

import pytest
import torch
from safetensors.torch import load_file, save_file

from proxies.weights import ENTRY, WeightsError, read_about, read_weights, save_weights, untrained_weights
from search_spaces.architecture import Architecture, Head, Stage, Stem
from search_spaces.blocks.attention import Attention
from search_spaces.blocks.mbconv import MBConv
from search_spaces.network import build
from search_spaces.seal import BLANK, FILE_SEAL, is_broken_bytes, seal_bytes

ARCH = Architecture(
    stem=Stem(width=8),
    stages=(
        Stage(stride=2, depth=1, width=8, block=MBConv(expand=2)),
        Stage(stride=2, depth=1, width=16, block=Attention(head_dim=8)),
    ),
    head=Head(width=16),
    name="small",
)
OTHER = Architecture(stem=Stem(width=8), stages=ARCH.stages[:1], head=Head(width=16))


@pytest.fixture
def kept(tmp_path):
    path = tmp_path / "deep" / "w.safetensors"
    network = build(ARCH, 5, resolution=32)
    told = save_weights(network.state_dict(), path, arch=ARCH, num_classes=5, resolution=32, more={"seed": 3})
    return path, network, told


def test_what_is_saved_reads_back_with_its_network(kept):
    path, network, told = kept
    found = read_weights(path)
    assert (found.arch, found.num_classes, found.resolution) == (ARCH, 5, 32)
    assert found.arch.name == "small"
    assert found.more == {"seed": 3}
    for name, tensor in network.state_dict().items():
        assert torch.equal(found.tensors[name], tensor), name
    content = path.read_bytes()
    assert told == {
        "file": "w.safetensors",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    assert [each.name for each in path.parent.iterdir()] == ["w.safetensors"]


def test_other_programs_read_it(kept):
    path, network, _ = kept
    assert load_file(path).keys() == network.state_dict().keys()


def test_same_weights_are_the_same_file(kept, tmp_path):
    path, network, _ = kept
    again = tmp_path / "again.safetensors"
    save_weights(network.state_dict(), again, arch=ARCH, num_classes=5, resolution=32, more={"seed": 3})
    assert again.read_bytes() == path.read_bytes()


def test_of_200_copies_with_a_flipped_bit_none_is_read(kept):
    path, _, _ = kept
    content, rng = path.read_bytes(), random.Random(0)
    places = [rng.randrange(len(content)) for _ in range(100)]
    places += [rng.randrange(int.from_bytes(content[:8], "little")) for _ in range(100)]  # the header
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(WeightsError):
            read_weights(path)
    path.write_bytes(content)
    read_weights(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of safetensors"),
        (b"\xff" * 100, "cut short"),
        (b"\x02\0\0\0\0\0\0\0{}", "does not say of which network"),
        (b"\x02\0\0\0\0\0\0\0[]", "not a file of safetensors"),
        (b"PK\x03\x04 a pickle in a zip", "not a file of safetensors"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path, content, message):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_weights(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.safetensors: No such file"):
        read_weights(tmp_path / "none.safetensors")


def resealed(path, **changes):
    """The file with other metadata and a checksum that fits: made wrongly rather than damaged."""
    about = read_about(path.read_bytes(), path) | {FILE_SEAL: BLANK} | changes
    text = json.dumps({key: value for key, value in about.items() if value is not None})
    save_file(load_file(path), path, {ENTRY: text})
    path.write_bytes(seal_bytes(path.read_bytes()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "0" * 64}, "not what its digest says"),
        ({"architecture": None}, "lacks 'architecture'"),
        ({"architecture": "{"}, "its architecture cannot be read"),
        ({"architecture": {}}, "its architecture cannot be read"),
        ({"architecture": [[[]]]}, "its architecture cannot be read"),
        ({"num_classes": "many"}, "'many' classes"),
        ({"num_classes": 10**30}, "0 classes at"),
        ({"resolution": -1}, "at -1 pixels"),
        ({"num_classes": 6}, r"tensor 'classifier\.bias' is \[5\].* it is \[6\]"),
        ({"resolution": 64}, r"attend\.table' is \[2, 7, 7\].* it is \[2, 15, 15\]"),
        ({"architecture": OTHER.to_document(), "digest": OTHER.digest}, "give its own weights"),
        ({"schema": "nas.weights/2"}, "not of schema nas.weights/1"),
    ],
)
def test_wrong_metadata_are_refused(kept, changes, message):
    path, _, _ = kept
    resealed(path)
    read_weights(path)
    resealed(path, **changes)
    assert is_broken_bytes(path.read_bytes()) is False
    with pytest.raises(WeightsError, match=message):
        read_weights(path)


def test_weights_of_other_programs_need_the_architecture(kept):
    path, _, _ = kept
    save_file(build(ARCH, 4).state_dict(), path)
    with pytest.raises(WeightsError, match="does not say of which network; give the architecture"):
        read_weights(path)
    found = read_weights(path, ARCH)
    assert (found.num_classes, found.resolution) == (4, ARCH.eval_resolution)
    with pytest.raises(WeightsError, match="give its own weights"):
        read_weights(path, OTHER)


def test_weights_of_another_architecture_are_refused(kept):
    path, _, _ = kept
    assert read_weights(path, ARCH).arch == ARCH
    with pytest.raises(
        WeightsError, match=f"{ARCH.digest[:12]}, and not of the architecture, {OTHER.digest[:12]}"
    ):
        read_weights(path, OTHER)


def test_untrained_weights_are_always_the_same_and_disturb_nothing():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = (untrained_weights(ARCH, num_classes=3, resolution=32) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)
    assert "untrained" in first.more
