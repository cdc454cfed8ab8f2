"""The base of every value read from a document, and the scalar types that fields are made of."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema


class Spec(BaseModel):
    """A frozen, hashable value that refuses unknown fields and silent conversions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_by_name=True, validate_by_alias=True
    )


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError(f"{kernel} is not odd, so padding cannot be symmetric; use 3, 5 or 7")
    return kernel


Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Width = Annotated[int, Field(ge=1, le=65_536)]
Depth = Annotated[int, Field(ge=0, le=1_000)]
Kernel = Annotated[
    int,
    Field(ge=1, le=31),
    AfterValidator(_odd),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 31, "not": {"multipleOf": 2}}),
]
Expand = Annotated[int, Field(ge=1, le=64)]
Ratio = Annotated[float, Field(gt=0.0, le=1.0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Resolution = Annotated[int, Field(ge=1, le=16_384)]
Stride = Annotated[int, Field(ge=1, le=2)]
ActivationName = Literal["silu", "relu", "gelu", "hard_swish"]
HeadActivationName = Literal["silu", "relu", "gelu", "hard_swish", "tanh"]
StemDepth = Annotated[int, Field(ge=1, le=2)]
HeadDim = Annotated[int, Field(ge=1, le=1_024)]
Padding = Literal["symmetric", "same"]
