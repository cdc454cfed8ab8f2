import importlib.util
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_nvml import Card, FakeNvml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxies.detection import GIB, Device, Machine, nvidia_devices
from proxies.hardware import (
    PROFILE_FOLDER,
    HardwareNotFoundError,
    HardwareProfile,
    UnknownHardwareError,
    declared_hardware,
    hardware_fingerprint,
    load_profile,
    load_profiles,
    profile_names,
    resolve_hardware,
    timing_settings,
)
from proxies.reference_network import REFERENCE
from search_spaces.architecture import Architecture, Recipe
from search_spaces.document import DocumentError

NAMES = {
    *("cpu", "v100", "t4", "a100-40g", "a100-80g", "l4", "h100", "h200", "rtx3090", "rtx4090"),
    *("mi300x", "tpu-v4", "tpu-v5e", "tpu-v6e"),
}

# Names and memory as NVML reports them (public nvidia-smi listings; memory in MiB).
CARDS = [
    ("Tesla V100-SXM2-16GB", 16160, "v100"),
    ("Tesla V100-PCIE-32GB", 32510, "v100"),
    ("Tesla T4", 15360, "t4"),
    ("NVIDIA A100-SXM4-40GB", 40960, "a100-40g"),
    ("NVIDIA A100-PCIE-40GB", 40536, "a100-40g"),
    ("NVIDIA A100-SXM4-80GB", 81920, "a100-80g"),
    ("NVIDIA A100 80GB PCIe", 81251, "a100-80g"),
    ("NVIDIA L4", 23034, "l4"),
    ("NVIDIA H100 80GB HBM3", 81559, "h100"),
    ("NVIDIA H100 NVL", 95830, "h100"),
    ("NVIDIA H200", 143771, "h200"),
    ("NVIDIA GeForce RTX 3090", 24576, "rtx3090"),
    ("NVIDIA GeForce RTX 4090", 24564, "rtx4090"),
    ("NVIDIA L40S", 46068, None),
    ("NVIDIA T4G", 15360, None),
    ("NVIDIA GH200 480GB", 97871, None),
    ("NVIDIA GeForce RTX 3090 Ti", 24564, None),
    ("NVIDIA GeForce RTX 4090 D", 24564, None),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376, None),
    ("NVIDIA GeForce RTX 4090", 49140, None),  # rebuilt with twice the memory
    ("NVIDIA A10G", 23028, None),
]


def machine(*cards: tuple[str, int], torch_version: str = "2.13.0", notes: tuple[str, ...] = ()) -> Machine:
    nvml = FakeNvml(*(Card(name, mib / 1024, f"GPU-{index}") for index, (name, mib) in enumerate(cards)))
    return Machine(
        accelerators=tuple(nvidia_devices(nvml, torch_version)),
        cpu=Device(kind="cpu", index=0, name="Some CPU"),
        torch_version=torch_version,
        notes=notes,
    )


NOTHING = machine(notes=("no NVIDIA GPU (NVML Shared Library Not Found)",))


# --- profiles ---------------------------------------------------------------------------------------------


def test_the_promised_profiles_are_shipped():
    assert set(profile_names()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_shipped_profile_is_complete(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.defaults.tolerance == (0.10 if name == "cpu" else 0.03)
    if name == "cpu":
        assert profile.match is None
        assert profile.defaults.budget_seconds == 20.0
        assert profile.defaults.max_resolution is not None
        return
    assert profile.ray_accelerator_type
    assert profile.bandwidth_bytes_per_second is not None
    assert profile.memory_bytes is not None
    assert profile.match is not None
    assert profile.match.memory_gib.high * GIB >= profile.memory_bytes * 0.95
    assert getattr(profile.peak_flops, profile.defaults.precision) is not None, (
        "default precision has no rate"
    )
    source = (PROFILE_FOLDER / f"{name}.yaml").read_text().splitlines()[0]
    assert re.match(r"# .*(datasheet|whitepaper|documentation)", source), "the rates need a source"


def test_ray_knows_the_accelerator_types():
    ray = importlib.util.find_spec("ray")
    if ray is None or ray.origin is None:
        pytest.skip("ray is not installed")
    constants = Path(ray.origin).parent / "util/accelerators/accelerators.py"
    known = set(re.findall(r'^\w+ = "(.+)"', constants.read_text(), flags=re.MULTILINE))
    shipped = {load_profile(name).ray_accelerator_type for name in profile_names()} - {None}
    # Consumer cards are not constants: Ray joins the words of their name.
    assert shipped - known == {"GeForce-RTX-3090", "GeForce-RTX-4090"}


def test_peak_rates_never_fall_with_precision():
    for name in profile_names():
        rates = load_profile(name).peak_flops
        given = [rate for rate in (rates.fp32, rates.tf32, rates.bf16) if rate is not None]
        assert given == sorted(given)


@pytest.mark.parametrize(("name", "mib", "expected"), CARDS)
def test_each_card_is_recognised_by_its_profile_and_by_no_other(name, mib, expected):
    (device,) = machine((name, mib)).accelerators
    assert [each for each in profile_names() if load_profile(each).recognises(device)] == (
        [expected] if expected else []
    )


def test_a_cpu_is_recognised_by_the_cpu_profile_alone():
    assert [each for each in profile_names() if load_profile(each).recognises(NOTHING.cpu)] == ["cpu"]


def test_an_alias_means_several_profiles():
    assert [profile.name for profile in load_profiles("a100")] == ["a100-40g", "a100-80g"]
    with pytest.raises(UnknownHardwareError, match="'a100' means a100-40g or a100-80g"):
        load_profile("a100")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("h10", "did you mean h100"), ("a100-40gb", "a100-40g"), ("???", "known: auto, a100-40g")],
)
def test_an_unknown_name_gets_the_nearest_ones(name, hint):
    with pytest.raises(UnknownHardwareError, match=f"hardware {re.escape(repr(name))} is unknown") as caught:
        load_profiles(name)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


# --- a user's own profile ---------------------------------------------------------------------------------

OWN = """\
schema: nas.hardware/1
name: my-5090
kind: cuda
match:
  name: RTX 5090
  memory_gib: {low: 30.0, high: 33.0}
defaults: {batch_size: 48, precision: bf16}
"""


def test_a_users_profile_works_wherever_a_name_does(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(OWN)
    found = resolve_hardware(path, find=lambda: machine(("NVIDIA GeForce RTX 5090", 32607)))
    assert found.profile.name == "my-5090"
    assert found.device.uuid == "GPU-0"
    assert timing_settings(found.profile, REFERENCE).batch_size == 48
    assert resolve_hardware(str(path), find=lambda: machine(("NVIDIA GeForce RTX 5090", 32607))) == found


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("  name: RTX 5090", "  name: 'RTX ('"), "not a regular expression"),
        (("kind: cuda", "kind: cpu"), "nothing to match"),
        (("precision: bf16", "precision: int8"), "precision"),
        (("batch_size: 48", "batch_size: 0"), "batch_size"),
        (("defaults:", "default:"), "default"),
    ],
)
def test_a_broken_profile_says_what_is_wrong(tmp_path, edit, message):
    path = tmp_path / "mine.yaml"
    path.write_text(OWN.replace(*edit))
    with pytest.raises(DocumentError, match=re.escape(message)):
        load_profile(path)


@pytest.mark.parametrize("name", ["a100", "auto", "h100", "cpu"])
def test_a_users_profile_cannot_take_the_name_of_another_device(tmp_path, name):
    path = tmp_path / "mine.yaml"
    path.write_text(OWN.replace("my-5090", name))
    with pytest.raises(ValueError, match="choose another name"):
        load_profile(path)


def test_a_copy_of_a_shipped_profile_may_change_its_defaults(tmp_path):
    path = tmp_path / "h100.yaml"
    path.write_text((PROFILE_FOLDER / "h100.yaml").read_text().replace("batch_size: 128", "batch_size: 32"))
    assert load_profile(path).defaults.batch_size == 32


# --- what is here -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mib", "other"), [(40960, "a100-80g"), (81920, "a100-40g")])
def test_a100_is_either_a100_and_each_refuses_the_other(mib, other):
    here = machine(("NVIDIA A100-SXM4", mib))
    found = resolve_hardware("a100", find=lambda: here)
    assert found.profile.name in {"a100-40g", "a100-80g"} - {other}
    with pytest.raises(HardwareNotFoundError, match=f"use --hardware {found.profile.name}, --hardware auto"):
        resolve_hardware(other, find=lambda: here)


def test_the_refusal_is_one_line_with_what_was_found_and_what_to_do():
    with pytest.raises(HardwareNotFoundError) as caught:
        resolve_hardware("a100", find=lambda: NOTHING)
    assert str(caught.value) == (
        "hardware 'a100' is not on this machine: found no NVIDIA GPU (NVML Shared Library Not Found), "
        "only a CPU (Some CPU); use --hardware auto (what is here), --hardware cpu, or --ray-address for a "
        "cluster that has it"
    )


def test_a_card_that_cannot_be_used_is_refused_with_the_reason():
    here = machine(("NVIDIA H100 80GB HBM3", 81559), torch_version="2.13.0+cpu")
    with pytest.raises(
        HardwareNotFoundError, match=r"is here, but .*\+cpu cannot drive it; use --hardware cpu"
    ):
        resolve_hardware("h100", find=lambda: here)
    found = resolve_hardware("auto", find=lambda: here)
    assert found.profile.name == "cpu"
    assert "cannot drive it" in found.notes[0]


def test_auto_takes_the_first_card_with_a_profile_else_the_cpu():
    here = machine(("NVIDIA GeForce GT 1030", 2000), ("NVIDIA L4", 23034), ("NVIDIA H200", 143771))
    assert resolve_hardware(find=lambda: here).profile.name == "l4"
    alone = resolve_hardware(find=lambda: machine(("NVIDIA GeForce GT 1030", 2000)))
    assert alone.profile.name == "cpu"
    assert alone.device.name == "Some CPU"
    assert "no profile recognises it" in alone.notes[0]
    assert resolve_hardware(find=lambda: NOTHING).notes == ()


def test_equal_cards_are_taken_together_and_others_left():
    here = machine(("NVIDIA L4", 23034), ("Tesla T4", 15360), ("NVIDIA L4", 23034))
    found = resolve_hardware("l4", find=lambda: here)
    assert [device.index for device in found.devices] == [0, 2]
    assert found.describe()["devices"] == [{"index": 0, "uuid": "GPU-0"}, {"index": 2, "uuid": "GPU-2"}]


@settings(deadline=None)
@given(
    asked=st.sampled_from(sorted(NAMES)),
    cards=st.lists(st.sampled_from([(name, mib) for name, mib, _ in CARDS]), max_size=3),
)
def test_a_device_never_gets_a_label_that_is_not_its_own(asked, cards):
    """Law: what is resolved is recognised by the profile that was asked for; the CPU only ever as cpu."""
    here = machine(*cards)
    try:
        found = resolve_hardware(asked, find=lambda: here)
    except HardwareNotFoundError:
        assert not any(load_profile(asked).recognises(device) for device in here.accelerators)
        return
    assert found.profile.name == asked
    assert all(found.profile.recognises(device) for device in found.devices)
    assert (found.device.kind == "cpu") == (asked == "cpu")


def test_tpus_are_known_and_refused():
    chip = Device(kind="tpu", index=0, name="Google TPU v4", memory_bytes=32 * GIB, defect="not timed")
    here = Machine(accelerators=(chip,), cpu=NOTHING.cpu, torch_version="2.13.0")
    with pytest.raises(
        HardwareNotFoundError, match=r"'tpu-v4' is here, but Google TPU v4 \(32 GiB\): not timed"
    ):
        resolve_hardware("tpu-v4", find=lambda: here)


def test_a_refusal_loads_neither_torch_nor_ray():
    program = """if True:
        import sys
        from proxies.hardware import HardwareNotFoundError, profile_names, resolve_hardware
        from proxies.detection import Device, Machine
        nothing = Machine(accelerators=(), cpu=Device(kind="cpu", index=0, name="c"), torch_version=None)
        resolve_hardware("auto")
        for name in profile_names():
            if name != "cpu":
                try:
                    resolve_hardware(name, find=lambda: nothing)
                except HardwareNotFoundError:
                    continue
                raise SystemExit(name)
        print(sorted({"torch", "ray", "pandas", "sklearn", "optuna"} & set(sys.modules)))
    """
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True
    )
    assert result.stdout.strip() == "[]"


# --- fingerprint and settings -----------------------------------------------------------------------------


def fingerprint(here: Machine, name: str = "auto", threads: int = 1) -> str:
    return hardware_fingerprint(resolve_hardware(name, find=lambda: here), threads=threads)


def test_two_equal_devices_are_one_and_all_else_is_another():
    one = fingerprint(machine(("NVIDIA L4", 23034)))
    assert re.fullmatch(r"[0-9a-f]{64}", one)
    assert fingerprint(machine(("Tesla T4", 15360), ("NVIDIA L4", 23034)), "l4") == one
    assert fingerprint(machine(("NVIDIA L4", 23034)), threads=8) == one  # the CPU only queues
    others = [
        fingerprint(machine(("NVIDIA L4", 23000))),
        fingerprint(machine(("NVIDIA L4", 23034), torch_version="2.12.0")),
        fingerprint(machine(("Tesla T4", 15360))),
        fingerprint(NOTHING),
        fingerprint(NOTHING, threads=2),
    ]
    assert len({one, *others}) == 1 + len(others)


def test_settings_come_from_the_override_the_profile_the_recipe_then_224():
    cpu, t4 = load_profile("cpu"), load_profile("t4")
    plain = REFERENCE
    trained_at_300 = Architecture(
        stem=plain.stem, stages=plain.stages, head=plain.head, recipe=Recipe(train_resolution=300)
    )
    assert timing_settings(t4, plain).resolution == 224
    assert timing_settings(t4, trained_at_300).resolution == 300
    assert timing_settings(cpu, trained_at_300).resolution == cpu.defaults.max_resolution
    trained_at_32 = replace(plain, recipe=Recipe(train_resolution=32))
    assert timing_settings(cpu, trained_at_32).resolution == 32
    assert timing_settings(cpu, trained_at_300, resolution=64).resolution == 64
    chosen = timing_settings(t4, plain, batch_size=7, precision="fp32", memory_format="contiguous", threads=3)
    assert (chosen.batch_size, chosen.precision, chosen.memory_format, chosen.threads) == (
        7,
        "fp32",
        "contiguous",
        3,
    )
    with pytest.raises(ValueError, match="resolution"):
        timing_settings(cpu, plain, resolution=0)
    assert (chosen.tolerance, chosen.compile) == (t4.defaults.tolerance, "none")


def test_graphs_are_of_cuda_devices_and_not_in_fp16():
    with pytest.raises(ValueError, match="cuda-graph is not timed on 'cpu'; only CUDA devices have graphs"):
        timing_settings(load_profile("cpu"), REFERENCE, compile="cuda-graph")
    with pytest.raises(ValueError, match="cuda-graph is not timed in fp16"):
        timing_settings(load_profile("h100"), REFERENCE, compile="cuda-graph", precision="fp16")
    graphed = timing_settings(load_profile("h100"), REFERENCE, compile="cuda-graph", autotune=False)
    assert (graphed.compile, graphed.autotune) == ("cuda-graph", False)


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_a_cpu_is_not_timed_in_a_gpus_precision(precision):
    with pytest.raises(
        ValueError, match=f"precision {precision} is not timed on 'cpu', a CPU; use fp32 or bf16"
    ):
        timing_settings(load_profile("cpu"), REFERENCE, precision=precision)


def test_a_profile_is_a_frozen_hashable_value():
    assert hash(load_profile("h100")) == hash(load_profile("h100"))
    assert isinstance(load_profile("h100"), HardwareProfile)


def test_a_clusters_hardware_is_what_its_profile_declares() -> None:
    declared = declared_hardware("h100")
    assert declared.profile.name == "h100"
    assert declared.device.kind == "cuda"
    assert declared.device.driver == "of the cluster"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a100", "means a100-40g or a100-80g"),
        ("auto", "name what its nodes have"),
        ("h10", "did you mean h100"),
    ],
)
def test_a_cluster_is_not_asked_for_something_vague(name: str, message: str) -> None:
    with pytest.raises(UnknownHardwareError, match=message):
        declared_hardware(name)


def test_onnx_runtime_is_timed_on_the_cpu_in_fp32_alone():
    arch = REFERENCE
    cpu, h100 = load_profile("cpu"), load_profile("h100")
    chosen = timing_settings(cpu, arch, work="onnx-inference", fused_optimizer=True)
    assert (chosen.work, chosen.fused_optimizer) == ("onnx-inference", False)  # nothing is optimised
    assert timing_settings(cpu, arch, fused_optimizer=True).fused_optimizer
    with pytest.raises(ValueError, match="not on 'h100' in bf16; use --hardware cpu --precision fp32"):
        timing_settings(h100, arch, work="onnx-inference")
    with pytest.raises(ValueError, match="not on 'cpu' in bf16"):
        timing_settings(cpu, arch, work="onnx-inference", precision="bf16")
