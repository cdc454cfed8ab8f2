"""Random networks of every shipped space leave as YAML, Python and ONNX, and each is compared with ours.

    python tests/nas/export_campaign.py [COUNT] [SPACE...]

Prints a line for each space: how many agree in each form, and the largest difference of a logit. The Python
modules run in processes that have PyTorch and nothing else. Ends with 1 where anything disagrees.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from exported import CLASSES, PYTHON, members, torch_alone, with_found_statistics, with_statistics

import nas
from nas.deploy.onnx_file import images_for, rounding_of, run_onnx
from nas.deploy.timm_file import timm_strings
from nas.deploy.verify import verify
from nas.errors import ExportError
from proxies.weights import read_weights, save_weights
from search_spaces.architecture import Architecture
from search_spaces.document import load_architecture
from search_spaces.network import build
from search_spaces.shipped import SPACES, shipped_names

LIMIT = 1e-5
ROUNDINGS = 4.0
"""See `nas.deploy.onnx_file`: rounding may pass the limit, in networks that amplify it."""
SIDE = 32

ALONE = """
import json, sys
sys.path[:] = [p for p in sys.path if "site-packages" not in p and p] + sys.argv[1:3]
import importlib, pathlib, torch
found = {}
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.py")):
    module = importlib.import_module(file.stem)
    network = module.load(file.with_suffix(".safetensors"))
    images = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
    with torch.no_grad():
        found[file.stem] = [module.DIGEST, network(images).double().tolist()]
assert not {"numpy", "pydantic", "safetensors", "nas", "search_spaces"} & set(sys.modules)
print(json.dumps(found))
"""


def weights_of(arch: Architecture, path: Path) -> None:
    torch.manual_seed(0)
    network = with_statistics(build(arch, CLASSES, resolution=SIDE, dropout=0.0, drop_path=0.0))
    network = with_found_statistics(network, SIDE)
    save_weights(network.state_dict(), path, arch=arch, num_classes=CLASSES, resolution=SIDE)


def logits_of(weights: Path) -> torch.Tensor:
    kept = read_weights(weights)
    network = build(kept.arch, CLASSES, resolution=SIDE)
    network.load_state_dict(dict(kept.tensors))
    images = torch.linspace(-1, 1, 2 * 3 * SIDE * SIDE).reshape(2, 3, SIDE, SIDE)
    with torch.no_grad():
        return network.eval()(images)


def onnx_difference(arch: Architecture, weights: Path, folder: Path) -> tuple[float, float]:
    """The largest difference of a logit, and what rounding does to one."""
    (file,) = nas.export(arch, out=folder, format="onnx", weights=weights)
    kept = read_weights(weights)
    network = build(arch, CLASSES, resolution=SIDE).eval()
    network.load_state_dict(dict(kept.tensors))
    images = images_for(kept, 4)
    with torch.no_grad():
        expected = network(images)
    assert verify(file).digest == arch.digest
    difference = float((torch.from_numpy(run_onnx(file.read_bytes(), images)) - expected).abs().max())
    file.unlink()
    return difference, rounding_of(network, images, expected)


def run_alone(folder: Path, site: Path) -> dict[str, list]:
    command = [PYTHON, "-S", "-I", "-W", "ignore", "-c", ALONE, str(folder), str(site)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def compare(space: str, count: int, folder: Path, site: Path) -> bool:
    """One space; prints its line and says whether all agree."""
    digests = {"yaml": 0, "timm": 0}
    worst = {"python": 0.0, "onnx": 0.0, "rounding": 0.0}
    within, agree = 0, True
    for index, arch in enumerate(members(space, count, seed=7)):
        weights = folder / f"{space}_{index}.safetensors"
        weights_of(arch, weights)
        (yaml,) = nas.export(arch, out=folder / "yaml")
        digests["yaml"] += load_architecture(yaml).digest == arch.digest == verify(yaml).digest
        modules = folder / f"{space}_{index}"
        nas.export(weights, out=modules, format="torch")
        ((digest, logits),) = run_alone(modules, site).values()
        assert digest == arch.digest
        difference = (torch.tensor(logits) - logits_of(weights)).abs().max()
        worst["python"] = max(worst["python"], float(difference))
        difference, rounding = onnx_difference(arch, weights, folder)
        worst["onnx"], worst["rounding"] = max(worst["onnx"], difference), max(worst["rounding"], rounding)
        within += difference <= LIMIT
        agree &= difference <= max(LIMIT, ROUNDINGS * rounding)
        with contextlib.suppress(ExportError):
            digests["timm"] += bool(timm_strings(arch))
        weights.unlink()
        shutil.rmtree(modules)
    print(
        f"{space:12} {count} networks: YAML {digests['yaml']} with equal digests; Python with PyTorch alone"
        f" within {worst['python']:.1e}; ONNX within {worst['onnx']:.1e}, {within} of them within {LIMIT:g}"
        f" (rounding {worst['rounding']:.1e}); {digests['timm']} as timm strings",
        flush=True,
    )
    return agree and digests["yaml"] == count and worst["python"] <= LIMIT


def main(arguments: list[str]) -> int:
    torch.set_num_threads(1)
    count = int(arguments[0]) if arguments else 20
    spaces = arguments[1:] or shipped_names(SPACES)
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        site.mkdir()
        torch_alone(site)
        agree = [compare(space, count, Path(folder), site) for space in spaces]
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
