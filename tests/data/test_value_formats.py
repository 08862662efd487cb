from __future__ import annotations

import pytest

from coalm.data.towns import WITH_REGION
from coalm.data.value_formats import tell, untold
from coalm.errors import DataError
from coalm.types import ToolSchema

SCHEMA = ToolSchema(
    name="FindBus",
    parameters={
        "type": "object",
        "properties": {
            "from_city": {"type": "string", "description": "City to leave from"},
            "leaving": {"type": "string", "description": "Date of departure"},
            "seats": {"type": "integer", "description": "How many seats", "default": 1},
        },
        "required": ["from_city"],
    },
)


def test_a_date_is_written_as_its_description_says() -> None:
    seen = set()
    for key in range(60):
        told = tell(SCHEMA, key)
        text = told.schema.properties["leaving"]["description"]
        written = told.written("leaving", "2019-03-04")
        form = next((form for form in ("MM/DD/YYYY", "YYYY-MM-DD") if form in str(text)), None)
        expected = {"MM/DD/YYYY": "03/04/2019", "YYYY-MM-DD": "2019-03-04", None: "2019-03-04"}
        assert written == expected[form]
        assert (text == "Date of departure") == (form is None)
        seen.add(form)
    assert len(seen) == 3


def test_only_descriptions_of_dates_and_towns_change() -> None:
    told = tell(SCHEMA, 1)
    assert told.schema.properties["seats"] == SCHEMA.properties["seats"]
    assert told.schema.required == SCHEMA.required
    assert told.written("seats", 3) == 3
    assert untold(SCHEMA).schema == SCHEMA
    assert untold(SCHEMA).written("from_city", "Concord") == "Concord"


def test_what_cannot_be_written_is_said() -> None:
    told = next(one for one in (tell(SCHEMA, key) for key in range(60)) if one.dates and one.towns)
    with pytest.raises(DataError, match="leaving: 'next week' is no date"):
        told.written("leaving", "next week")
    with pytest.raises(DataError, match="from_city: region of 'Atlantis' is not known"):
        told.written("from_city", "Atlantis")


def test_the_key_alone_decides() -> None:
    assert tell(SCHEMA, 3) == tell(SCHEMA, 3)
    assert len({tell(SCHEMA, key).schema.model_dump_json() for key in range(20)}) > 5


def test_towns_have_one_state_or_country() -> None:
    assert WITH_REGION["San Jose"] == "San Jose, CA"
    assert WITH_REGION["Point Reyes Station"] == "Point Reyes Station, CA"
    assert WITH_REGION["Paris"] == "Paris, France"
    assert all(whole.count(",") == 1 and whole == whole.strip() for whole in WITH_REGION.values())
