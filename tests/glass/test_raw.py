"""The typed tuples agree with the layout, and pack where C puts its fields."""

from typing import NamedTuple

import pytest

from glassloop.glass import layout, raw

PAIRS = [
    (raw.RawHeader, layout.HEADER),
    (raw.RawLive, layout.LIVE),
    (raw.RawTask, layout.TASK),
    (raw.RawRecord, layout.RECORD),
    (raw.RawBlock, layout.BLOCK),
    (raw.RawSite, layout.SITE),
]


@pytest.mark.parametrize(("fields", "structure"), PAIRS, ids=lambda value: getattr(value, "name", ""))
def test_a_tuple_has_the_layouts_fields(fields: type[NamedTuple], structure: layout.Structure) -> None:
    assert fields._fields == tuple(field.name for field in structure.fields)


@pytest.mark.parametrize("structure", layout.STRUCTURES, ids=lambda structure: structure.name)
def test_each_field_lies_at_its_offset(structure: layout.Structure) -> None:
    packing = raw.packing(structure)
    assert packing.size == structure.size
    for number, field in enumerate(structure.fields):
        data = bytearray(structure.size)
        offset = structure.offsets[field.name]
        data[offset : offset + field.size] = b"\xff" * field.size
        values = packing.unpack(bytes(data))
        zero = packing.unpack(bytes(structure.size))
        assert [i for i, value in enumerate(values) if repr(value) != repr(zero[i])] == [number]
