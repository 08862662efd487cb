from __future__ import annotations

import pytest

from coalm.evals.multiwoz.placeholders import named_domains, rewrite


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("The [hotel_name] is [value_pricerange] -ly priced", "the NAME is PRICE  priced"),
        ("[NAME], [Value_Name]", "NAME, NAME"),
        ("call [taxi_phone] or [phone]", "call PHONE or PHONE"),
        ("[value_reference] and [ref]", "REFERENCE and REFERENCE"),
        ("[train_id] [id] [train] [trainid]", "TRAINID TRAINID TRAINID TRAINID"),
        ("[restaurant_id]", "ID"),
        ("[arrive by] [leave at] [price range]", "TIME TIME PRICE"),
        ("[value_count] [restaurant_name]s and [hotel_name]es", "COUNT NAME and NAME"),
        ("two guesthouse -s", "two guesthouse "),
        ("an [unheard_of] thing", "an  thing"),
        ("no [place-holder]", "no [place-holder]"),
    ],
)
def test_placeholders_become_kinds(response: str, expected: str) -> None:
    assert rewrite(response) == expected


def test_domains_come_from_the_names() -> None:
    response = "[Hotel_name] at [value_address], [train_id], [restaurants_name]"
    assert named_domains(response) == {"hotel", "train"}
