import pytest
from pydantic import ValidationError

from coalm.types import Conversation, Message, ToolSchema


def test_a_schema_keeps_keys_that_data_sets_add() -> None:
    row = {"name": "f", "description": "d", "parameters": {}, "response": {"x": 1}}
    assert ToolSchema.model_validate(row).model_dump() == row


def test_a_schema_without_properties_has_no_parameters() -> None:
    schema = ToolSchema(name="f", parameters={"type": "object", "required": "a"})
    assert schema.properties == {}
    assert schema.required == ()
    odd = ToolSchema(name="f", parameters={"properties": {"a": None}, "required": ["a"]})
    assert odd.properties == {"a": {}}
    assert odd.required == ("a",)


def test_extending_leaves_the_original_alone() -> None:
    first = Conversation(id="c")
    second = first.extended(Message(role="user", content="hi"))
    assert first.messages == ()
    assert [m.content for m in second.messages] == ["hi"]
    assert Conversation.model_validate_json(second.model_dump_json()) == second


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="contents"):
        Message.model_validate({"role": "user", "contents": "hi"})
