"""An exported module is the network: same names, same numbers, same beginnings, without anything of ours."""

import json
import re
import subprocess
from dataclasses import replace

import odd_layers
import pytest
import torch
from exported import CLASSES, PYTHON, imported, members, small_member, torch_alone, with_statistics
from torch import nn

from nas.deploy.export import module_stem
from nas.deploy.initial_values import initial_values
from nas.deploy.module_file import module_text, network_with_rules
from nas.deploy.module_tree import Call, module_tree
from nas.deploy.source_code import SourceCode, plain_literal
from nas.errors import ExportError
from proxies.weights import save_weights
from search_spaces.architecture import Architecture, Head, Recipe, Stage, Stem
from search_spaces.blocks.mbconv import MBConv, MBConvWeights
from search_spaces.blocks.weight import Dynamic, Reparam
from search_spaces.document import architecture_from_document, load_architecture
from search_spaces.network import build
from search_spaces.registry import BLOCKS
from search_spaces.seal import is_broken
from search_spaces.shipped import SPACES, shipped_names

SPACE_NAMES = shipped_names(SPACES)


def assert_agrees(arch, path, *, resolution=64):
    """The module in `path`, written for `arch`, is the network that we build."""
    path.write_text(module_text(arch, name=path.stem, num_classes=CLASSES, resolution=resolution))
    module = imported(path)
    assert module.DIGEST == arch.digest == architecture_from_document(module.ARCHITECTURE).digest
    assert module.NUM_CLASSES == CLASSES
    assert resolution == module.RESOLUTION
    network = with_statistics(build(arch, CLASSES, resolution=resolution))
    again = module.build()
    assert list(again.state_dict()) == list(network.state_dict())
    again.load_state_dict(network.state_dict())
    images = torch.rand(2, arch.input.channels, resolution, resolution)
    with torch.no_grad():
        difference = (network.eval()(images) - again.eval()(images)).abs().max()
    assert difference <= 1e-5, (arch.digest, float(difference))
    return network, again, module


@pytest.mark.parametrize(
    "space", ["tiny", *(pytest.param(s, marks=pytest.mark.thorough) for s in SPACE_NAMES if s != "tiny")]
)
def test_a_random_member_of_every_space_agrees(space, tmp_path):
    assert_agrees(small_member(space), tmp_path / "network.py")


@pytest.mark.thorough
@pytest.mark.parametrize("space", SPACE_NAMES)
def test_more_random_members_of_every_space_agree(space, tmp_path):
    for index, arch in enumerate(members(space, 20 if space in ("tiny", "mnasnet") else 2, seed=2)):
        assert_agrees(arch, tmp_path / f"network_{index}.py", resolution=32)


def network_of(op):
    """A small network of one kind of block, with a stride, a change of width and a residual."""
    spec = BLOCKS[op].spec
    block = spec(**{name: 4 for name, field in spec.model_fields.items() if field.is_required()})
    stages = (
        Stage(stride=2, depth=1, width=32, block=block),
        Stage(stride=2, depth=2, width=64, block=block),
    )
    return Architecture(stem=Stem(width=16), stages=stages, head=Head(width=32))


@pytest.mark.parametrize("weight", [Dynamic(experts=2), Reparam(branches=1)], ids=["dynamic", "reparam"])
def test_convolutions_that_make_their_weights_agree(weight, tmp_path):
    weights = MBConvWeights(expand=weight, depthwise=weight, project=weight)
    stages = tuple(
        Stage(stride=2, depth=1, width=width, block=MBConv(expand=2, weights=weights)) for width in (8, 12)
    )
    arch = Architecture(stem=Stem(width=8, weight=weight), stages=stages, head=Head(width=16), padding="same")
    assert_agrees(arch, tmp_path / "network.py", resolution=36)


@pytest.mark.parametrize("op", BLOCKS)
def test_every_registered_block_agrees(op, tmp_path):
    assert_agrees(network_of(op), tmp_path / "network.py", resolution=32)


def test_it_trains_as_ours_does(tmp_path):
    arch = replace(network_of("mbconv"), recipe=Recipe(dropout=0.2, drop_path=0.2))
    network, again, _ = assert_agrees(arch, tmp_path / "network.py", resolution=32)
    images, labels = torch.rand(4, 3, 32, 32), torch.arange(4)
    losses = []
    for each in (network, again):
        torch.manual_seed(3)  # dropout and dropped paths
        each.train()
        loss = nn.functional.cross_entropy(each(images), labels)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == losses[1]
    for (name, one), other in zip(network.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad), name
    assert torch.equal(network.stem[1].running_var, again.stem[1].running_var)


@pytest.mark.parametrize("name", [pytest.param("efficientnetv2-b0", marks=pytest.mark.thorough), "coatnet-0"])
def test_it_starts_from_the_same_distributions(name, tmp_path):
    path = tmp_path / "network.py"
    arch = load_architecture(name)
    path.write_text(module_text(arch, name="network", num_classes=CLASSES, resolution=64))
    _, expected = network_with_rules(arch, num_classes=CLASSES, resolution=64)
    _, rules = initial_values(imported(path).build)
    assert rules == expected
    assert expected["classifier.bias"] == (("zero_",),)
    assert len(set(expected.values())) > 10


def test_same_padding_is_exported(tmp_path):
    arch = replace(members("tiny", 1)[0], padding="same")
    assert arch.padding == "same"
    assert_agrees(arch, tmp_path / "network.py", resolution=33)
    assert "class Conv2dSame(nn.Conv2d)" in (tmp_path / "network.py").read_text()


ALONE = """
import json, sys
sys.path[:] = [p for p in sys.path if "site-packages" not in p and p] + sys.argv[1:3]
missing = []
for name in ("numpy", "safetensors", "pydantic", "yaml", "search_spaces", "nas", "proxies"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
import network, torch
found = network.load(sys.argv[3])
images = torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
with torch.no_grad():
    logits = found(images)[0].double().tolist()
print(json.dumps({"missing": missing, "logits": logits, "training": found.training}))
"""


def test_it_runs_where_there_is_torch_and_nothing_else(tmp_path):
    arch = network_of("attention")
    network = with_statistics(build(arch, CLASSES, resolution=32)).eval()
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "network.py").write_text(module_text(arch, name="network", num_classes=CLASSES, resolution=32))
    save_weights(
        network.state_dict(), folder / "w.safetensors", arch=arch, num_classes=CLASSES, resolution=32
    )
    alone = tmp_path / "site"
    alone.mkdir()
    command = [
        PYTHON,
        "-S",
        "-I",
        "-W",
        "ignore",
        "-c",
        ALONE,
        folder,
        torch_alone(alone),
        folder / "w.safetensors",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["missing"] == ["numpy", "safetensors", "pydantic", "yaml", "search_spaces", "nas", "proxies"]
    assert found["training"] is False
    images = torch.linspace(0, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    with torch.no_grad():
        expected = network(images)[0].double()
    assert (torch.tensor(found["logits"], dtype=torch.float64) - expected).abs().max() <= 1e-5


def test_weights_of_another_network_or_damaged_ones_are_refused(tmp_path):
    arch, other = members("tiny", 2)
    path = tmp_path / "network.py"
    path.write_text(module_text(arch, name="network", num_classes=CLASSES, resolution=32))
    module = imported(path)
    weights = tmp_path / "w.safetensors"
    save_weights(build(other, CLASSES).state_dict(), weights, arch=other, num_classes=CLASSES)
    with pytest.raises(
        ValueError, match=rf"weights of {other.digest[:12]}; this network is {arch.digest[:12]}"
    ):
        module.load(weights)
    save_weights(build(arch, CLASSES).state_dict(), weights, arch=arch, num_classes=CLASSES)
    assert module.load(weights).training is False
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="its SHA-256 differs"):
        module.load(weights)


def test_the_text_is_sealed_and_depends_on_the_network_alone():
    (arch,) = members("tiny", 1)
    texts = {module_text(arch, name="a", num_classes=3, resolution=32) for _ in range(2)}
    (text,) = texts
    assert not is_broken(text)
    assert is_broken(text.replace("NUM_CLASSES = 3", "NUM_CLASSES = 4"))
    with pytest.raises(AssertionError):
        module_text(arch, name='a"""\nimport os', num_classes=3, resolution=32)
    assert text != module_text(arch, name="b", num_classes=3, resolution=32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("run-3", "run_3"),
        ("3", "network_3"),
        ("a.b", "a_b"),
        ("class", "network_class"),
        ("é", "_"),
        ("", "network_"),
    ],
)
def test_a_modules_name_can_be_imported(name, expected):
    assert module_stem(name) == expected


def expression(make):
    """A module, the expression for it, and what that needs."""
    found, rules = initial_values(make)
    code = SourceCode()
    real = make()
    return real, module_tree(found, rules, code, dict(real.named_buffers()).__getitem__), code


def made_from(call, code):
    """What an expression makes, with the base that exported files have."""
    text = module_text(members("tiny", 1)[0], name="x", num_classes=2, resolution=32)
    base = re.search(r"class Part.*?return tensor\n", text, re.DOTALL)[0]
    parts = [
        "from __future__ import annotations",
        *sorted(code.imports),
        "import torch\nfrom torch import nn",
        base,
    ]
    scope = {}
    exec("\n".join([*parts, *code.definitions.values(), f"made = {call.text()}"]), scope)
    return scope["made"]


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_a_layer_of_a_plug_in_needs_no_code_of_its_own(mode):
    found, call, code = expression(lambda: odd_layers.Experts(6, mode))
    made = made_from(call, code)
    assert list(made.state_dict()) == list(found.state_dict())
    made.load_state_dict(found.state_dict())
    x = torch.randn(3, 6)
    assert torch.equal(made(x), found(x))
    assert "made_by" not in call.text()
    assert set(code.definitions) == {"SCALES", "Mode", "_rescaled", "Experts"}
    _, rules = initial_values(lambda: odd_layers.Experts(6, mode))
    assert rules["weight"] == (("normal_", 0.0, (1 / 3) ** 0.5),)
    assert [name for name, *_ in rules["cut"]] == ["uniform_", "mul_"]
    assert initial_values(lambda: made_from(call, code))[1] == rules


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (odd_layers.Unequal, r"parameter weight starts from values that are not written as one initialiser"),
        (odd_layers.Copied, r"parameter weight .* nn\.init"),
        (odd_layers.Unset, r"parameter weight .* nn\.init"),
        (odd_layers.Truncated, r"parameter weight .* nn\.init"),
        (odd_layers.Computed, r"parameter weight .* nn\.init"),
        (odd_layers.ReadsAnObject, r"seen: a Counter cannot be exported"),
        (odd_layers.NeedsNumpy, r"NeedsNumpy cannot be exported: its methods use numpy"),
        (odd_layers.ReadsAGlobal, r"ReadsAGlobal cannot be exported: its methods use COUNTER"),
        (odd_layers.OwnBase, r"OwnBase cannot be exported: it derives from Tanh"),
        (odd_layers.LargeBuffer, r"table: a buffer of 5000 elements cannot be written out"),
        (lambda: nn.Sequential(*odd_layers.same_name()), r"two layers name different things 'Twin'"),
        (lambda: nn.Sequential(*[nn.Tanh()] * 2), r"two places of the network share one module"),
        (lambda: nn.Sequential(nn.ModuleDict()), r"0\.modules: a method cannot be exported"),
        (
            lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
            r"ParametrizedLinear|not written as one",
        ),
    ],
)
def test_what_cannot_leave_is_refused_with_the_reason(layer, message):
    with pytest.raises(ExportError, match=message):
        expression(layer)


@pytest.mark.parametrize(
    "value", [None, True, 3, -0.5, 1e-30, "a'b\"c\n", (1,), (1, (2.0, "x")), [1, None], {"a": (1, 2)}, ()]
)
def test_plain_values_read_back(value):
    assert eval(plain_literal(value)) == value


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), object(), [object()], {"a": {1}}, torch.ones(1)]
)
def test_other_values_have_no_literal(value):
    assert plain_literal(value) is None


def test_long_calls_are_broken_and_short_ones_not():
    short = Call("f", ((None, "1"), ("b", "2")))
    assert short.text() == "f(1, b=2)"
    assert (
        Call("g", (("x", short), (None, "y"))).text(room=12)
        == "g(\n    x=f(\n        1,\n        b=2,\n    ),\n    y,\n)"
    )
