"""`nas verify`: what holds is said to, what was changed never is, and nothing in a file runs."""

import json
import random
import re

import numpy as np
import pytest
from exported import small_member

import nas
from nas.deploy import onnx_file
from nas.deploy.verify import VerificationError, verify
from nas.errors import ExportError
from proxies.onnx_packages import OnnxMissingError
from proxies.weights import untrained_weights
from search_spaces.nodes import DocumentError
from search_spaces.seal import BLANK, FILE_SEAL, seal, seal_bytes

ARCH = small_member("tiny", 4)
OTHER = small_member("tiny", 5)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """One file of each kind but ONNX, by its ending."""
    out = tmp_path_factory.mktemp("exports")
    settings = {"out": out, "untrained": True, "num_classes": 3, "resolution": 32}
    files = [
        *nas.export(ARCH, format="torch", **settings),
        *nas.export(ARCH, format="yaml", out=out),
    ]
    return {file.suffix: file for file in files}


def copy_of(file, tmp_path, content):
    path = tmp_path / file.name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("suffix", "kind", "round_trip"),
    [
        (".yaml", "architecture", "same digest"),
        (".py", "module", "same text"),
        (".safetensors", "weights", "tensors of the network"),
    ],
)
def test_what_was_written_holds(exports, suffix, kind, round_trip):
    found = verify(exports[suffix])
    assert (found.kind, found.digest, found.has_checksum) == (kind, ARCH.digest, True)
    assert found.round_trip.endswith(round_trip)


@pytest.mark.parametrize("suffix", [".yaml", ".py", ".safetensors"])
def test_of_60_copies_with_a_flipped_bit_none_holds(exports, suffix, tmp_path):
    content, rng = exports[suffix].read_bytes(), random.Random(1)
    for _ in range(60):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content) - 90)] ^= 1 << rng.randrange(8)
        with pytest.raises((VerificationError, DocumentError, ValueError)):
            verify(copy_of(exports[suffix], tmp_path, flipped))


@pytest.mark.parametrize("suffix", [".yaml", ".py"])
def test_what_is_added_below_the_checksum_is_seen(exports, suffix, tmp_path):
    added = exports[suffix].read_bytes() + b"# one more line\n"
    with pytest.raises(VerificationError):
        verify(copy_of(exports[suffix], tmp_path, added))


def test_files_without_a_checksum_are_said_to_have_none(exports, tmp_path):
    lines = exports[".yaml"].read_text().splitlines(keepends=True)
    found = verify(copy_of(exports[".yaml"], tmp_path, "".join(lines[:-1]).encode()))
    assert found.has_checksum is False
    lines = exports[".py"].read_text().splitlines(keepends=True)
    found = verify(copy_of(exports[".py"], tmp_path, "".join(lines[:-1]).encode()))
    assert (found.has_checksum, found.round_trip) == (False, "not what this version writes")


def test_an_edited_module_with_a_checksum_of_its_own_is_not_the_same_text(exports, tmp_path):
    text = exports[".py"].read_text().rpartition("# sha256")[0]
    edited = seal(text.replace("nn.SiLU()", "nn.ReLU()").replace("nn.ReLU()", "nn.Tanh()", 1))
    assert edited != seal(text)
    found = verify(copy_of(exports[".py"], tmp_path, edited.encode()))
    assert found.round_trip == "not what this version writes"


MODULE = 'SCHEMA = "nas.module/1"\nDIGEST = "0"\n'


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.zip", "", r"'\.zip' is none of \.yaml, \.yml, \.safetensors, \.py, \.onnx"),
        ("a", "", "'' is none of"),
        ("a.py", "def", "no Python module .SyntaxError"),
        ("a.py", "\0", "no Python module"),
        ("a.py", "x = " + "(" * 3000, "no Python module"),
        ("a.py", "import os\n", "has no DIGEST"),
        ("a.py", "DIGEST = open('ran', 'w')\n", "a.py:1: DIGEST is no plain value"),
        ("a.py", f"{MODULE}ARCHITECTURE = {{}}\n", "ARCHITECTURE"),
        ("a.py", f"{MODULE}ARCHITECTURE = 3\n", "ARCHITECTURE"),
        ("a.py", f"{MODULE}ARCHITECTURE = {OTHER.to_document()}\n", "DIGEST is 0, and ARCHITECTURE is"),
        (
            "a.py",
            f"DIGEST = {OTHER.digest!r}\nARCHITECTURE = {OTHER.to_document()}\nNUM_CLASSES = -1\n",
            "its name, NUM_CLASSES or RESOLUTION is missing or impossible",
        ),
    ],
)
def test_other_files_are_refused_and_do_not_run(name, text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(VerificationError, match=message):
        verify(name)
    assert not (tmp_path / "ran").exists()


def test_a_module_is_not_run(exports, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = exports[".py"].read_text().rpartition("# sha256")[0] + "open('ran', 'w')\n"
    found = verify(copy_of(exports[".py"], tmp_path, seal(text).encode()))
    assert found.round_trip == "not what this version writes"
    assert not (tmp_path / "ran").exists()


def test_provenance_of_another_network_is_refused(exports, tmp_path):
    lines = exports[".yaml"].read_text().rpartition("# sha256")[0]
    wrong = seal(f"{lines}provenance: {{digest: '{OTHER.digest}'}}\n")
    with pytest.raises(VerificationError, match=r"provenance\.digest is"):
        verify(copy_of(exports[".yaml"], tmp_path, wrong.encode()))


@pytest.mark.parametrize("name", ["none.py", "none.onnx", "none.yaml", "none.safetensors"])
def test_files_that_are_not_there_are_named(name, tmp_path):
    with pytest.raises((VerificationError, ValueError), match=re.escape(name)):
        verify(tmp_path / name)


def test_without_the_extra_onnx_is_refused_naming_it(monkeypatch, tmp_path):
    monkeypatch.setattr("proxies.onnx_packages.find_spec", lambda name: None)
    with pytest.raises(OnnxMissingError, match=r"pip install 'training-aware-nas\[export\]'"):
        nas.export(ARCH, out=tmp_path, format="onnx", untrained=True)
    with pytest.raises(OnnxMissingError, match=r"training-aware-nas\[export\]"):
        verify(tmp_path / "x.onnx")


def test_weights_past_what_an_onnx_file_holds_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1000)
    with pytest.raises(ExportError, match=r"bytes of weights are too many for one ONNX file"):
        nas.export(ARCH, out=tmp_path, format="onnx", untrained=True)


@pytest.fixture(scope="module")
def onnx_export(tmp_path_factory):
    (file,) = nas.export(
        ARCH, out=tmp_path_factory.mktemp("onnx"), format="onnx", untrained=True, num_classes=3, resolution=32
    )
    return file


@pytest.mark.thorough
def test_an_onnx_file_computes_what_pytorch_does(onnx_export):
    import onnxruntime

    weights = untrained_weights(ARCH, num_classes=3, resolution=32)
    session = onnxruntime.InferenceSession(onnx_export, providers=["CPUExecutionProvider"])
    images = onnx_file.images_for(weights, 5)
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    expected = onnx_file.loaded(weights)(images).detach().numpy()
    assert logits.shape == (5, 3)
    assert np.abs(logits - expected).max() <= 1e-5
    found = verify(onnx_export)
    assert (found.kind, found.digest, found.has_checksum) == ("onnx", ARCH.digest, True)


@pytest.mark.thorough
def test_an_onnx_file_has_nothing_of_this_machine(onnx_export):
    content = onnx_export.read_bytes()
    assert b"site-packages" not in content
    assert b"search_spaces" not in content


@pytest.mark.thorough
def test_changed_onnx_files_never_hold(onnx_export, tmp_path):
    import onnx

    content, rng = onnx_export.read_bytes(), random.Random(2)
    for _ in range(40):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        with pytest.raises(ExportError):
            verify(copy_of(onnx_export, tmp_path, flipped))
    model = onnx.load_model_from_string(content)
    entry = model.metadata_props[0]
    about = json.loads(entry.value) | {FILE_SEAL: BLANK}

    def resealed(**changes):
        entry.value = json.dumps(about | changes)
        return copy_of(onnx_export, tmp_path, seal_bytes(model.SerializeToString()))

    verify(resealed())
    with pytest.raises(ExportError, match="is not among its initialisers"):
        verify(resealed(num_classes=4))
    with pytest.raises(ValueError, match="not what its digest says"):
        verify(resealed(digest=OTHER.digest))
    node = next(each for each in model.graph.node if each.op_type == "Sigmoid")
    node.op_type = "Tanh"
    with pytest.raises(ExportError, match=r"logits differ from PyTorch's by"):
        verify(resealed())
    with pytest.raises(ExportError, match="no valid ONNX model"):
        verify(copy_of(onnx_export, tmp_path, seal_bytes(f"{FILE_SEAL}: {BLANK}".encode())))
