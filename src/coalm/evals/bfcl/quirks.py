"""Habits of the official scorer that decide verdicts and follow from no rule of the benchmark.

`COMPAT` keeps them all: published scores were made with them. `STRICT` has none: a reply is read as
the prompt asks for it, and compared as the words of the benchmark say. What each field stands for
is told with what happens without it. Found in `bfcl-eval` 2025.6.8; see `docs/bfcl.md`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias


class Quirks(NamedTuple):
    """One habit per field, kept where it is true."""

    layout: bool = True
    """Brackets and quotes around a reply are stripped character by character and missing ones
    added, but a line break behind `[` or a fence with a language makes it unreadable.
    Without: a reply is one Python list of calls; blanks, line breaks and one fence do not count."""
    arguments: bool = True
    """Positional arguments are dropped, of a repeated keyword the last one counts, `**x` is a
    parameter without a name, and a callee such as `a[0].c` is cut to its name.
    Without: such a reply cannot be read."""
    words: bool = True
    """Bare words, calls without keywords, subscripts and `...` among the values are text.
    Without: such a reply cannot be read."""
    signs: bool = True
    """Every sign before a constant means minus: `+5` is -5, `not True` is -1.
    Without: it means what it means in Python."""
    java_bytes: bool = True
    """Places in Java text are counted in bytes, so values behind a letter like é are cut wrongly.
    Without: in characters."""
    java_any: bool = True
    """A Java or JavaScript parameter of any type is text and never fits an answer that is none.
    Without: numbers, `true`, `false` and `null` are read where the answer has one."""
    greedy: bool = True
    """In the parallel categories each expected call takes the first call that fits and keeps it,
    so right calls in another order can fail.
    Without: any assignment counts."""
    defaults: bool = True
    """An optional parameter that the answer does not list is wrong even with its default value.
    Without: with its default it is as good as left out."""
    blanks: bool = True
    """The mark for "may be left out" is an empty text, and any text of nothing but punctuation
    equals it.
    Without: only an empty text does."""
    item_types: bool = True
    """An integer passes for a float, but not inside a list.
    Without: inside a list as well."""
    truth: bool = True
    """Inside lists and dicts `True` equals 1 and `False` equals 0.
    Without: a boolean equals only itself."""
    letters: bool = True
    """Where the answer gives a dict's value as a text, each of its letters is accepted.
    Without: the text is."""
    garbage: bool = True
    """Where no call is expected, a broken call is as good as a refusal.
    Without: a reply that names a function on offer with an opening bracket is a call."""
    strangers: bool = True
    """Where a call is expected whatever it says, a call of a function that is not on offer counts.
    Without: it has to be on offer."""
    silence: bool = True
    """In a turn of a dialogue in which nothing should be called, calls are run and not punished
    (upstream has a check for it that is switched off).
    Without: a call there is wrong."""
    last_turn: bool = True
    """A dialogue that was given up in its last turn is scored as if it had ended.
    Without: it is wrong, as it is in any other turn."""


COMPAT = Quirks()
STRICT = Quirks(*(False for _ in Quirks._fields))
Scoring: TypeAlias = Literal["compat", "strict"]
SCORINGS: dict[Scoring, Quirks] = {"compat": COMPAT, "strict": STRICT}
