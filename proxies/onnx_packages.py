"""Whether ONNX Runtime is here, found without loading it."""

from importlib.util import find_spec

PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class OnnxMissingError(ImportError):
    """The packages that export to ONNX and run it are not installed."""


def require_onnx() -> None:
    """See that ONNX Runtime and what exports to it are installed, without loading them.

    Raises:
        OnnxMissingError: they are not.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise OnnxMissingError(
            f"ONNX needs {' and '.join(missing)}; pip install 'training-aware-nas[export]'"
        )
