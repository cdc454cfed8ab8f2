"""Weights of other libraries load completely, by name, and compute what they computed there."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reference_efficientnet import B0, S, Store, forward
from safetensors.torch import save_file
from small_training import ARCH, DATA, RECIPE

import nas
from nas.training.checkpoints import CheckpointError
from nas.training.layouts import LayoutError, our_names
from nas.training.weights import Initial, initialise
from search_spaces.document import load_architecture
from search_spaces.network import build

CASES = {
    "timm": ("efficientnetv2-b0", "same", B0, 32),
    "torchvision": ("efficientnetv2-s", "symmetric", S, 24),
}


@pytest.fixture(scope="module", params=list(CASES))
def foreign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A file of weights with the layout's names, images, the reference's logits, and our architecture."""
    name, padding, rows, stem = CASES[request.param]
    x_BCHW = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    store = Store(is_counted=request.param == "torchvision")
    logits_BK = forward(store, x_BCHW, request.param, rows, stem)
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.safetensors"
    save_file(dict(store), path)
    return path, dict(store), x_BCHW, logits_BK, replace(load_architecture(name), padding=padding)


def test_a_state_dict_loads_completely_and_computes_the_same(foreign) -> None:
    path, tensors, x_BCHW, logits_BK, arch = foreign
    network = build(arch).eval()
    assert f"{len(tensors)} tensors" in initialise(network, arch, Initial.of(path))
    assert sum(p.numel() for p in network.parameters()) == sum(
        t.numel() for n, t in tensors.items() if not n.endswith(("mean", "var", "tracked"))
    )
    assert float(logits_BK.std()) > 0.05  # not a network that says nothing
    with torch.no_grad():
        torch.testing.assert_close(network(x_BCHW), logits_BK, atol=1e-5, rtol=1e-5)
        other = build(replace(arch, padding="symmetric" if arch.padding == "same" else "same")).eval()
        initialise(other, arch, Initial.of(path))
        assert not torch.allclose(other(x_BCHW), logits_BK, atol=1e-2)


def test_another_number_of_classes_gets_a_new_classifier(foreign) -> None:
    path, tensors, _, _, arch = foreign
    network = build(arch, 7)
    before = network.classifier.weight.detach().clone()
    said = initialise(network, arch, Initial.of(path))
    assert said.endswith("and a new classifier")
    assert torch.equal(network.classifier.weight, before)
    first = next(name for name in tensors if tensors[name].ndim == 4)
    assert torch.equal(network.state_dict()["stem.0.weight"], tensors[first])


@pytest.mark.parametrize("change", ["missing", "surplus", "shape"])
def test_weights_that_do_not_fit_are_refused_by_name(foreign, tmp_path: Path, change: str) -> None:
    path, tensors, _, _, arch = foreign
    changed = dict(tensors)
    victim = sorted(name for name in changed if name.endswith(("bn1.bias", "0.1.bias")))[3]
    if change == "missing":
        del changed[victim]
        expected = "blocks.* is missing"
    elif change == "surplus":
        changed["blocks.9.9.conv.weight"] = torch.zeros(1)
        expected = "blocks.9.9.conv.weight"
    else:
        changed[victim] = torch.zeros(3)
        expected = f"{victim} is .3,. and the network's"
    file = tmp_path / path.name
    save_file(changed, file)
    with pytest.raises(LayoutError, match=expected):
        initialise(build(arch), arch, Initial.of(file))


def test_the_weights_of_another_network_are_refused(foreign) -> None:
    path, _, _, _, arch = foreign
    other = load_architecture("efficientnetv2-m")
    with pytest.raises(LayoutError, match=r"do not fit|have no place"):
        initialise(build(other), other, Initial.of(path))
    coatnet = load_architecture("coatnet-0")
    with pytest.raises(LayoutError, match="this network has attention"):
        our_names(coatnet, ["conv_stem.weight"])
    assert arch != other


@pytest.mark.thorough
def test_a_training_begins_with_another_s_weights(tmp_path: Path) -> None:
    options = {"data": DATA, "recipe": RECIPE, "hardware": "cpu", "threads": 1}
    first = nas.train(ARCH, out=tmp_path / "first", **options)
    plan = nas.train(ARCH, out=tmp_path / "second", init=first.path, **options)
    second = plan.result
    assert second["last"]["train_loss"] < first.result["last"]["train_loss"]
    assert Initial.of(first.path).path == str(first.path / "best.safetensors")
    wider = replace(ARCH, padding="same")
    with pytest.raises(LayoutError, match="holds weights of network"):
        nas.train(wider, out=tmp_path / "third", init=first.path, **options)


def test_what_could_run_code_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"\x80\x04.")
    with pytest.raises(
        CheckpointError, match=r"is not a \.safetensors file, and reading others can run code"
    ):
        Initial.of(tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="there are no such weights"):
        Initial.of(tmp_path / "gone.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        initialise(build(ARCH, 10), ARCH, Initial.of(tmp_path / "bad.safetensors"))
    file = Initial.of(tmp_path / "bad.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"other")
    with pytest.raises(CheckpointError, match="has changed since"):
        initialise(build(ARCH, 10), ARCH, file)
