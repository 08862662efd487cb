"""Placeholders of delexicalised responses: `[hotel_name]` is a NAME, `[value_phone]` a PHONE.

Systems name them each in their own style; the names known here are those of mwzeval
(Tomiinek/MultiWOZ_Evaluation, `mwzeval/normalization.py`). An unknown one stands for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_VENUES = ("attraction", "hospital", "hotel", "police", "restaurant")
_NAMES = {
    "ADDRESS": {"address": ("", "value", *_VENUES)},
    "AREA": {"area": ("", "value", "attraction", "hotel", "restaurant")},
    "COUNT": {
        "choice": ("", "value", "attraction", "hotel", "restaurant", "train"),
        "count": ("value",),
        "people": ("", "value"),
        "bookpeople": ("",),
        "stay": ("", "value"),
        "bookstay": ("",),
        "stars": ("", "value", "hotel"),
    },
    "DAY": {"day": ("", "value", "train"), "bookday": ("",)},
    "DEPARTMENT": {"department": ("", "value", "hospital")},
    "FOOD": {"food": ("", "value", "restaurant")},
    "ID": {"id": ("attraction", "hospital", "restaurant")},
    "INTERNET": {"internet": ("", "hotel")},
    "NAME": {"name": ("", "value", *_VENUES)},
    "OPEN": {"openhours": ("",)},
    "PARKING": {"parking": ("", "hotel")},
    "PHONE": {"phone": ("", "value", "taxi", *_VENUES)},
    "PLACE": {
        "departure": ("", "value", "taxi", "train"),
        "destination": ("", "value", "taxi", "train"),
        "place": ("value",),
    },
    "POST": {"postcode": ("", "value", *_VENUES)},
    "PRICE": {
        "price": ("", "value", "attraction", "train"),
        "pricerange": ("", "value", "attraction", "hotel", "restaurant"),
        "price range": ("",),
        "entrancefee": ("", "attraction"),
        "entrance fee": ("",),
    },
    "REFERENCE": {
        "reference": ("", "value", "attraction", "hotel", "restaurant", "train"),
        "ref": ("",),
    },
    "TIME": {
        "arrive": ("value", "train"),
        "arriveby": ("", "taxi", "train"),
        "arrive by": ("",),
        "leave": ("value", "train"),
        "leaveat": ("", "taxi", "train"),
        "leave at": ("",),
        "duration": ("", "value", "train"),
        "time": ("", "value"),
        "booktime": ("",),
    },
    "TRAINID": {"id": ("", "value", "train"), "train": ("",), "trainid": ("", "train")},
    "TYPE": {
        "type": ("", "value", "attraction", "hotel", "restaurant", "taxi"),
        "car": ("", "value", "taxi"),
    },
}
_PLACEHOLDER = re.compile(r"\[([\w\s]+)\](?:-?es|-?s)?")
_DOMAINS = frozenset({"restaurant", "hotel", "attraction", "train", "taxi", "hospital", "police"})


def _kinds() -> Iterator[tuple[str, str]]:
    for kind, slots in _NAMES.items():
        for slot, prefixes in slots.items():
            yield from ((f"{prefix}_{slot}" if prefix else slot, kind) for prefix in prefixes)


KINDS = dict(_kinds())
"""Placeholder name, without its brackets, to what it stands for."""


def rewrite(response: str) -> str:
    """The response in lower case with every placeholder as its kind in capitals.

    A plural ending after a placeholder and the endings `-s` and `-ly` are dropped.
    """
    text = _PLACEHOLDER.sub(lambda found: KINDS.get(found[1], ""), response.lower())
    return text.replace("-s", "").replace("-ly", "")


def named_domains(response: str) -> frozenset[str]:
    """Domains by which placeholders of the response are named (`[hotel_name]` is of hotel)."""
    names = (found.split("_")[0] for found in _PLACEHOLDER.findall(response.lower()))
    return _DOMAINS.intersection(names)
