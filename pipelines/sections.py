"""What the classes of the configuration share: `pipelines.config` reads files into them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Section", "Share"]


class Section(BaseModel):
    """A mapping of a configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


Share = Annotated[float, Field(ge=0.0, le=1.0)]
