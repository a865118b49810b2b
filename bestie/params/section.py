"""The base class of all sections, the types of their values, and `option`, which declares a key."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # NumPy accepts no others
Precision = Literal["fp32", "bf16"]


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd, since a window needs a middle pixel")
    return value


def _not_empty(values: tuple[float, ...]) -> tuple[float, ...]:
    if not values:
        raise ValueError("must name at least one size; [1.0] is the image as it is")
    return values


Window = Annotated[Count, AfterValidator(_odd)]
Scales = Annotated[tuple[Positive, ...], AfterValidator(_not_empty)]


class Section(BaseModel):
    """Base class of all sections: they are immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def option(default: Any, help_text: str, source: str = "ours") -> Any:
    """Declare a key of a section.

    Args:
        default: its default; `...` if the key is required.
        help_text: what the key does, with its unit.
        source: where the default comes from: the paper (and where in it), the authors' release, or ours.
    """
    return Field(default, description=help_text, json_schema_extra={"source": source})


class ColorRefinement(Section):
    """How semantic maps are made to follow the edges of their images (`bestie.method.pixel_adaptive`)."""

    color_steps: CountOrZero = option(0, "steps of pixel-adaptive refinement of the semantic map; 0: none")
    refined_side_px: Count = option(176, "longer side, at most, of the image at which maps are refined")
