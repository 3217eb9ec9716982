"""What pydantic finds is told in the words of JSON Schema."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from services.runtime.field_errors import field_errors, pointer


class Model(BaseModel):
    """One field for each way to be wrong."""

    number: Annotated[int, Field(ge=1, lt=10)] = 1
    text: Annotated[str, Field(max_length=2, pattern="^a")] = "a"
    choice: Literal["a", "b"] = "a"
    flag: bool = False
    inner: dict[str, list[int]] = {}


@pytest.mark.parametrize(
    ("value", "place", "keyword"),
    [
        ({"number": "x"}, "/number", "type"),
        ({"number": 1.5}, "/number", "type"),
        ({"number": None}, "/number", "type"),
        ({"number": 0}, "/number", "minimum"),
        ({"number": 10}, "/number", "exclusiveMaximum"),
        ({"text": "aaa"}, "/text", "maxLength"),
        ({"text": "b"}, "/text", "pattern"),
        ({"choice": "c"}, "/choice", "enum"),
        ({"flag": "perhaps"}, "/flag", "type"),
        ({"inner": {"a/b~c": [1, "x"]}}, "/inner/a~1b~0c/1", "type"),
        ([], "", "type"),
    ],
)
def test_each_error_has_its_place_and_the_keyword_of_its_rule(value: object, place: str, keyword: str) -> None:
    with pytest.raises(ValidationError) as error:
        Model.model_validate(value)
    assert [(wrong.pointer, wrong.keyword) for wrong in field_errors(error.value.errors())] == [(place, keyword)]


def test_the_first_parts_of_a_place_can_be_left_out() -> None:
    [wrong] = field_errors([{"loc": ("query", "a/b"), "type": "missing"}], skip=1)
    assert (wrong.pointer, wrong.keyword) == ("/a~1b", "required")


def test_long_names_are_cut_in_pointers() -> None:
    assert pointer(["x" * 1000, 3]) == "/" + "x" * 128 + "/3"
