"""How slots and values are written: the rules by which two spellings are one value.

Three sets of rules, all of them functions of a slot and a text:

- `evaluator_value`: states and goals before Inform and Success, after mwzeval (Tomiinek/
  MultiWOZ_Evaluation, `mwzeval/normalization.py`). Odd as some of it is (`12:30pm` is 24:30, `the
  junction` becomes a name that the database lacks), published numbers depend on it.
- `helper_value` and `gold_text`: joint goal accuracy as the CoALM lab's fork of it computes it
  (uiuc-conversational-ai-lab/multiwoz-helper). Gold values pass through both, predicted ones only
  through the first, so the two sides are not treated alike.
- `fair_slot` and `fair_value`: both sides alike, and forgiving about spelling.
"""

from __future__ import annotations

import re

DONT_CARE = frozenset({"dontcare", "dont care", "don't care", "do not care", "do n't care"})
"""Ways to write that the user has no preference."""
UNSET = frozenset({"", "not mentioned", "none"})
"""Ways to write that a slot has no value; `none` is one of MultiWOZ 2.1 only."""

_NAMES = {
    "hotel du vin bistro": "hotel du vin and bistro",
    "the river bar and grill": "the river bar steakhouse and grill",
    "nando's": "nandos",
    "nandos in the city centre": "nandos city centre",
    "city center b and b": "city center north b and b",
    "acorn house": "acorn guest house",
    "caffee uno": "caffe uno",
    "cafe uno": "caffe uno",
    "rosa's": "rosas bed and breakfast",
    "restaurant called two two": "restaurant two two",
    "restaurant 2 two": "restaurant two two",
    "restaurant two 2": "restaurant two two",
    "restaurant 2 2": "restaurant two two",
    "restaurant 1 7": "restaurant one seven",
    "restaurant 17": "restaurant one seven",
    "lime house": "limehouse",
    "cityrooms": "cityroomz",
    "whale of time": "whale of a time",
    "huntingdon hotel": "huntingdon marriott hotel",
    "holiday inn exlpress, cambridge": "express by holiday inn cambridge",
    "university hotel": "university arms hotel",
    "arbury guesthouse": "arbury lodge guesthouse",
    "arbury guesthouse and lodge": "arbury lodge guesthouse",
    "bridge house": "bridge guest house",
    "broughton gallery": "broughton house gallery",
    "scudamores punt co": "scudamores punting co",
    "cambridge botanic gardens": "cambridge university botanic gardens",
    "the botanical gardens at cambridge university": "cambridge university botanic gardens",
    "the junction": "junction theatre",
    "trinity street college": "trinity college",
    "christ college": "christ's college",
    "christs": "christ's college",
    "history of science museum": "whipple museum of the history of science",
    "parkside pools": "parkside swimming pool",
    "cafe jello museum": "cafe jello gallery",
}
_HELPER_NAMES = {
    "a and b guest house": "a and b guesthouse",
    "acorn guesthouse": "acorn guest house",
}
_FOODS = {
    "eriterean": "mediterranean",
    "brazilian": "portuguese",
    "portugese": "portuguese",
    "sea food": "seafood",
    "modern american": "north american",
    "americas": "north american",
    "intalian": "italian",
    "italain": "italian",
    "asian or oriental": "asian",
    "english": "british",
    "brutish": "british",
    "bristish": "british",
    "australasian": "australian",
    "gastropod": "gastropub",
    "europeon": "european",
}
_TYPES = {
    "swimming pool": "swimmingpool",
    "mutliple sports": "multiple sports",
    "night club": "nightclub",
    "guest house": "guesthouse",
}
_TIMES = {
    "morning": "08:00",
    "lunch": "12:00",
    "noon": "12:00",
    "mid-day": "12:00",
    "around lunch time": "12:00",
    "afternoon": "13:00",
    "six fourty five": "06:45",
    "seven o'clock tomorrow evening": "07:00",
    "eight thirty": "08:30",
    "one thirty p.m.": "13:30",
    "three forty five p.m": "15:45",
}
_TIME_STARTS = {"one o'clock p.m": "13:00", "ten o'clock a.m": "10:00"}
_TIME_SLOTS = frozenset({"arrive", "leave", "arriveby", "leaveat", "time"})
_NAME_SLOTS = frozenset({"name", "destination", "departure"})
_CLOCK = re.compile(r"[0-9][0-9]:[0-9][0-9]")
_NUMBER_WORDS = (
    *("one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS, start=1)}
_SPELLINGS = {"b&b": "bed and breakfast", "b and b": "bed and breakfast"} | {
    "guesthouse": "guest house",
    "‘": "'",
    "’": "'",
}
_FAIR_SLOTS = {"arriveby": "arrive", "leaveat": "leave"}


def evaluator_slot(name: str) -> str:
    """The name of a state slot as the standard evaluator reads it."""
    name = name.lower().replace(" ", "")
    return {"arriveby": "arrive", "leaveat": "leave"}.get(name, name)


def evaluator_value(slot: str, value: str) -> str:
    """The value of a slot as the standard evaluator reads it."""
    if slot in _NAME_SLOTS:
        name = _plain_name(value)
        return _NAMES.get(name, name)
    if slot == "type":
        return _TYPES.get(value, value)
    if slot == "food":
        food = value.strip().lower()
        return _FOODS.get(food, food)
    if slot in _TIME_SLOTS:
        return _time(value)
    if slot in ("parking", "internet"):
        return "yes" if value == "free" else value
    return value


def helper_value(slot: str, value: str) -> str:
    """The value of a slot as the lab's helper reads it: two more names, `b and b` in all names."""
    if slot not in _NAME_SLOTS:
        return evaluator_value(slot, value)
    name = _plain_name(value).replace("bed and breakfast", "b and b")
    return _HELPER_NAMES.get(name) or _NAMES.get(name, name)


def gold_text(value: str) -> str:
    """A gold value after the preprocessing that MultiWOZ 2.4 comes with (`create_data.py` there).

    Number words become digits, which also turns `restaurant one seven` into `restaurant 17`.
    """
    text = re.sub(r"[<>]", "|", value.strip().lower())
    for written, meant in _SPELLINGS.items():
        text = text.replace(written, meant)
    text = text.replace(";", ",").replace("/", " and ").replace("-", " ")
    text = re.sub(r'["@()]', "", text)
    text = re.sub(r"(?<!\d)[?.,!]|[?.,!](?!\d)", r" \g<0> ", text)
    text = re.sub(r"'(?=s\b)", " '", text)
    text = re.sub(r"^'|'$", "", text)
    text = re.sub(r"'\s|\s'", " ", text)
    text = f" {text} "
    for word, digit in _NUMBERS.items():
        # twice in a row a word is found only once, hence `restaurant 2 two`
        text = text.replace(f" {word} ", f" {digit} ")
    return join_digits(text.split())


def join_digits(words: list[str]) -> str:
    """The words as a text in which numbers that stand side by side are one (`1 7` is `17`)."""
    joined: list[str] = []
    for word in words:
        if joined and re.fullmatch(r"\d+", word) and re.fullmatch(r"\d+", joined[-1]):
            joined[-1] += word
        else:
            joined.append(word)
    return " ".join(joined)


def fair_slot(name: str) -> str:
    """The name of a slot, whatever case, blanks, underscores or `book` it is written with."""
    plain = re.sub(r"[^a-z]", "", name.lower()).removeprefix("book")
    return _FAIR_SLOTS.get(plain, plain)


def fair_value(slot: str, value: str) -> frozenset[str]:
    """What a value can mean: its alternatives, each in a form that spelling does not change.

    Args:
        slot: As `fair_slot` names it.
        value: One value, or several divided by `|`, `<` or `>`.

    Returns:
        Nothing when the value says that the slot has none.
    """
    parts = (part.strip() for part in re.split(r"[|<>]", value.lower()))
    return frozenset(_fair_part(slot, part) for part in parts if part not in UNSET)


def _fair_part(slot: str, text: str) -> str:
    text = text.replace("’", "'").replace("‘", "'")
    if text in DONT_CARE:
        return "dontcare"
    if slot in _TIME_SLOTS:
        return _time(text)
    if slot in _NAME_SLOTS:
        return _fair_name(text)
    text = {"free": "yes", "center": "centre"}.get(text, _TYPES.get(text, text))
    if slot == "food":
        text = _FOODS.get(text, text)
    return _letters(_NUMBERS.get(text, text))


def _fair_name(text: str) -> str:
    name = _plain_name(text.removeprefix("the "))
    name = _NAMES.get(name, name).replace("b and b", "bed and breakfast")
    words = re.sub(r" (hotel|restaurant)$", "", name).split()
    return _letters("".join(_NUMBERS.get(word, word) for word in words))


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum()) or text


def _plain_name(value: str) -> str:
    name = value.strip().lower()
    return name.replace(" & ", " and ").replace("&", " and ").replace(" '", "'")


def _time(value: str) -> str:
    """A time as HH:MM where it can be read, by mwzeval's rules in mwzeval's order."""
    text = value.strip().lower()
    if text in _TIMES:
        return _TIMES[text]
    for start, meant in _TIME_STARTS.items():
        if text.startswith(start):
            return meant
    text = text[3:] if text.startswith("by") else text
    for word in ("after", "afer"):
        text = text[len(word) :].strip() if text.startswith(word) else text
    for ending in ("am", "a.m."):
        text = text[: -len(ending)].strip() if text.endswith(ending) else text
    for ending in ("pm", "p.m."):
        if text.endswith(ending):
            return _afternoon(text[: -len(ending)].strip())
    return _clock(text)


def _afternoon(text: str) -> str:
    hour, colon, minute = text.partition(":")
    if not hour.isdecimal() or ":" in minute:
        return _clock(text)
    return f"{int(hour) + 12}:{minute if colon else '00'}"


def _clock(text: str) -> str:
    if not text:
        return "00:00"
    text = text[:-1] if text[-1] in ".,?" else text
    if text.isdigit():
        return f"{text[:2]}:{text[2:]}" if len(text) == 4 else f"{text.zfill(2)}:00"
    if ":" in text:
        text = text.replace(" ", "")
    return text.zfill(5) if len(text) == 4 and text[1] == ":" else text


def minutes(time: str) -> int:
    """Minutes since midnight; 0 when the time is not of the form HH:MM."""
    if not _CLOCK.match(time):
        return 0
    hour, minute = time.split(":")[:2]
    return int(hour) * 60 + int(minute) if minute.isdecimal() else 0
