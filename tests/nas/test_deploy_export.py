"""What leaves in which form, and what is refused: `nas.export`."""

import contextlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from exported import imported, members, small_member

import nas
from nas.deploy.export import FORMATS
from nas.deploy.onnx_file import rounding_of, run_onnx
from nas.deploy.verify import verify
from nas.errors import ExportError
from proxies.records import Outcome, TimeJob, TimingSettings, TrainJob
from proxies.weights import WeightsError, read_weights, save_weights, untrained_weights
from results.directory import RunDirectory
from results.errors import RunError
from results.run import load_run
from search_spaces.architecture import Architecture, Head, Recipe, Stage, Stem, cost
from search_spaces.blocks.mbconv import MBConv, MBConvWeights
from search_spaces.blocks.weight import Dynamic
from search_spaces.document import load_architecture
from search_spaces.nodes import DocumentError
from search_spaces.seal import is_broken
from search_spaces.text import dump

ARCH = replace(small_member("tiny", 4), name="found", recipe=Recipe(eval_resolution=32))
OTHER = replace(small_member("tiny", 5), recipe=Recipe(eval_resolution=32))
CONFIG = {"schema": "nas.run/1", "config": {"space": "tiny"}, "jobs_per_candidate": {"time": 1, "train": 1}}


def make_run(path, *, weights_of=None):
    """A run of one candidate, ARCH; `weights_of`: whose weights its training kept."""
    with RunDirectory.create(path, hint="tiny", config=CONFIG) as directory, directory.ledger() as ledger:
        ledger.add_candidate(
            digest=ARCH.digest,
            architecture=ARCH.to_document(),
            cost=cost(ARCH, 32),
            resolution=32,
            origin="random",
            proposal_index=0,
        )
        time = TimeJob(
            digest=ARCH.digest,
            architecture={},
            hardware_fingerprint="here",
            settings=TimingSettings(resolution=32, batch_size=2),
        )
        train = TrainJob(digest=ARCH.digest, architecture={}, task_fingerprint="task", seed=0)
        details = {}
        if weights_of is not None:
            made = untrained_weights(weights_of, num_classes=4, resolution=32)
            details["weights"] = save_weights(
                made.tensors, path / "weights" / f"{train.key}.safetensors", arch=weights_of, num_classes=4
            )
        shared = {"digest": ARCH.digest, "status": "ok"}
        ledger.record(
            Outcome(key=time.key, kind="time", metrics={"step_ms": 5.0, "step_ratio": 1.0}, **shared)
        )
        ledger.record(
            Outcome(key=train.key, kind="train", metrics={"accuracy": 0.5}, details=details, **shared)
        )
    return load_run(path)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "runs" / "first", weights_of=ARCH)


@pytest.fixture
def bare_run(tmp_path):
    return make_run(tmp_path / "runs" / "bare")


def test_a_run_with_weights_leaves_as_a_module_that_loads_them(run, tmp_path):
    files = nas.export(run, out=tmp_path / "out", format="torch")
    assert [file.name for file in files] == ["first_1.py", "first_1.safetensors"]
    network = imported(files[0]).load(files[1])
    ours = nas.build(ARCH, 4, resolution=32).eval()
    ours.load_state_dict(untrained_weights(ARCH, num_classes=4, resolution=32).tensors)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), ours(images))


def test_a_run_leaves_as_weights_that_name_their_network(run, tmp_path):
    (file,) = nas.export(run.path, out=tmp_path / "out", format="safetensors")
    found = read_weights(file)
    assert found.arch.digest == ARCH.digest
    again = nas.export(file, out=tmp_path / "again", format="torch")
    assert [each.name for each in again] == ["first_1.py", "first_1.safetensors"]


def test_a_run_without_weights_leaves_as_a_module_alone(bare_run, tmp_path):
    (file,) = nas.export(bare_run, out=tmp_path / "out", format="torch")
    assert imported(file).NUM_CLASSES == 1000
    (file,) = nas.export(bare_run, out=tmp_path / "out", format="torch", num_classes=7, resolution=48)
    assert imported(file).build()(torch.rand(2, 3, 48, 48)).shape == (2, 7)
    assert imported(file).RESOLUTION == 48


def test_weights_that_are_not_there_are_refused_naming_both_ways(bare_run, tmp_path):
    out = tmp_path / "out"
    both = r"has no weights.*nas train.*--keep-weights|has no weights.*--keep-weights.*nas train"
    with pytest.raises(ExportError, match=both):
        nas.export(bare_run, out=out, format="safetensors")
    with pytest.raises(ExportError, match=both):
        nas.export(ARCH, out=out, format="safetensors")
    assert list(out.iterdir()) == []


def test_weights_of_the_smaller_network_that_a_proxy_trained_are_not_the_candidates(tmp_path):
    run = make_run(tmp_path / "runs" / "small", weights_of=OTHER)
    with pytest.raises(
        ExportError, match=f"its proxy trained a smaller network, {OTHER.digest[:12]}.*nas train"
    ):
        nas.export(run, out=tmp_path / "out", format="safetensors")
    kept = next((run.path / "weights").iterdir())
    module, _ = nas.export(kept, out=tmp_path / "out", format="torch")
    assert OTHER.digest == imported(module).DIGEST


def test_an_architecture_leaves_with_weights_from_a_file(tmp_path):
    made = untrained_weights(ARCH, num_classes=6, resolution=32)
    weights = tmp_path / "w.safetensors"
    save_weights(made.tensors, weights, arch=ARCH, num_classes=6, more={"epochs": 3})
    yaml = tmp_path / "arch.yaml"
    yaml.write_text(dump(ARCH.to_document()))
    (file,) = nas.export(yaml, out=tmp_path / "out", format="safetensors", weights=weights)
    assert file.name == "found.safetensors"
    assert read_weights(file).more == {"epochs": 3}
    with pytest.raises(WeightsError, match="not of the architecture"):
        nas.export(OTHER, out=tmp_path / "out", format="torch", weights=weights)
    with pytest.raises(ExportError, match="5 classes were asked for, and its weights are for 6"):
        nas.export(ARCH, out=tmp_path / "out", format="torch", weights=weights, num_classes=5)
    with pytest.raises(ExportError, match="64 pixels were asked for, and its weights are for 32"):
        nas.export(ARCH, out=tmp_path / "out", format="torch", weights=weights, resolution=64)


def test_weights_are_not_given_to_a_whole_run(run, tmp_path):
    with pytest.raises(ExportError, match="weights are one network's"):
        nas.export(run, out=tmp_path / "out", format="torch", weights="w.safetensors")


def test_untrained_weights_are_marked(tmp_path):
    (file,) = nas.export(ARCH, out=tmp_path, format="safetensors", untrained=True, num_classes=3)
    assert read_weights(file).more == {"untrained": "initialised with seed 0"}
    assert read_weights(file).num_classes == 3


def test_an_architecture_leaves_as_sealed_yaml(tmp_path):
    (file,) = nas.export("efficientnetv2-b0", out=tmp_path)
    assert file.name == "efficientnetv2-b0.yaml"
    assert not is_broken(file.read_text())
    assert is_broken(file.read_text().replace("depth: 2", "depth: 3"))
    assert load_architecture(file).digest == load_architecture("efficientnetv2-b0").digest


def test_a_runs_yaml_has_measurements(run, tmp_path):
    (file,) = nas.export(run, out=tmp_path)
    assert file.name == "first-1.yaml"
    assert "measurements:" in file.read_text()
    assert load_architecture(file).digest == ARCH.digest


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("effcientnetv2-b0", RunError, "or an architecture, by its name, did you mean 'efficientnetv2-b0'"),
        ("none.yaml", DocumentError, r"none\.yaml"),
        ("none.safetensors", WeightsError, r"none\.safetensors"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, source, error, message):
    with pytest.raises(error, match=message):
        nas.export(source, out=tmp_path)


def test_an_unknown_format_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ExportError, match=f"format 'onix' is unknown; known: {', '.join(FORMATS)}"):
        nas.export(ARCH, out=tmp_path, format="onix")


def test_a_damaged_module_or_weights_never_replaces_a_whole_one(run, tmp_path, monkeypatch):
    (before, _) = nas.export(run, out=tmp_path / "out", format="torch")
    text = before.read_text()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunError, match="No space left"):
        nas.export(run, out=tmp_path / "out", format="torch", resolution=32)
    assert before.read_text() == text
    assert sorted(each.name for each in before.parent.iterdir()) == ["first_1.py", "first_1.safetensors"]


def test_yaml_needs_no_torch(tmp_path):
    code = "import nas, sys; nas.export('coatnet-0', out=sys.argv[1]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.thorough
def test_dynamic_convolutions_leave_as_onnx_for_any_number_of_images(tmp_path):
    """Their kernels differ from image to image, and ONNX has no convolution whose groups do."""
    experts = Dynamic(experts=2)
    blocks = (
        MBConv(expand=2, kernel=3, weights=MBConvWeights(depthwise=experts, project=experts)),
        MBConv(expand=2, kernel=5),
    )
    stages = tuple(Stage(stride=2, depth=1, width=8 * (i + 1), block=each) for i, each in enumerate(blocks))
    arch = Architecture(stem=Stem(width=8, weight=experts), stages=stages, head=Head(width=32), name="mixed")
    arch = replace(arch, recipe=Recipe(eval_resolution=32))
    (file,) = nas.export(arch, out=tmp_path, format="onnx", untrained=True, num_classes=5)
    for batch in (1, 3):
        images = torch.randn(batch, 3, 32, 32)
        assert run_onnx(file.read_bytes(), images).shape == (batch, 5)
    assert verify(file).digest == arch.digest


def test_rounding_counts_for_much_where_large_terms_cancel():
    """x y - x (y - 1) = x: half a unit in the last place of either weight moves it by as much."""
    images = torch.ones(1, 2)
    for size, least, most in ((1.0, 1e-9, 1e-6), (1e6, 1e-3, 1.0)):
        network = torch.nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            network.weight.copy_(torch.tensor([[size, 1.0 - size]]))
            assert least < rounding_of(network, images, network(images)) < most


@pytest.mark.thorough
@pytest.mark.parametrize("rounding", [0.0, 1.0])
def test_a_file_that_computes_something_else_is_not_written(tmp_path, monkeypatch, rounding):
    """Unless that is what rounding does."""

    def wrong(content, images):
        found = run_onnx(content, images)
        return found + 2e-5 * max(1.0, abs(found).max())

    monkeypatch.setattr("nas.deploy.onnx_file.run_onnx", wrong)
    monkeypatch.setattr("nas.deploy.onnx_file.rounding_of", lambda *_: rounding)
    refused = pytest.raises(ExportError, match="ONNX Runtime's logits differ from PyTorch's by")
    with contextlib.nullcontext() if rounding else refused:
        nas.export(members("tiny", 1)[0], out=tmp_path, format="onnx", untrained=True, num_classes=5)
    assert len(list(tmp_path.glob("*.onnx"))) == (1 if rounding else 0)
