"""What a field holds, as far as filters care; the fields themselves belong to who filters."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Kind(enum.Enum):
    """What a field holds, as far as filters care."""

    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRINGS = "list of strings"
    OBJECT = "object"
    OBJECTS = "list of objects"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its kind, and what lies below it (``values`` for the values of a map)."""

    kind: Kind
    fields: Mapping[str, Field] = field(default_factory=dict)
    values: Field | None = None

    def child(self, name: str) -> Field | None:
        """The field that a selector's next part names; None when there is none."""
        return self.values if self.kind is Kind.MAP else self.fields.get(name)


STRING = Field(Kind.STRING)
INTEGER = Field(Kind.INTEGER)
BOOLEAN = Field(Kind.BOOLEAN)
STRINGS = Field(Kind.STRINGS)
STRING_MAP = Field(Kind.MAP, values=STRING)
