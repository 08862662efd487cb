"""The categories of BFCL V3: how many entries, where they lie, how they are scored."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Language: TypeAlias = Literal["Python", "Java", "JavaScript"]
Scoring: TypeAlias = Literal["ast", "irrelevance", "relevance", "multi_turn", "exec", "rest"]


class Category(NamedTuple):
    """One file of questions."""

    name: str
    size: int
    scoring: Scoring
    language: Language = "Python"

    @property
    def retired(self) -> bool:
        """True for the executable parts, which upstream dropped in April 2025."""
        return self.scoring in ("exec", "rest")

    @property
    def part(self) -> str:
        """The part of the benchmark that it belongs to."""
        if self.retired:
            return "exec"
        if self.scoring == "multi_turn":
            return "multi_turn"
        return "live" if self.name.startswith("live_") else "non_live"


CATEGORIES = {
    category.name: category
    for category in (
        Category("simple", 400, "ast"),
        Category("multiple", 200, "ast"),
        Category("parallel", 200, "ast"),
        Category("parallel_multiple", 200, "ast"),
        Category("java", 100, "ast", "Java"),
        Category("javascript", 50, "ast", "JavaScript"),
        Category("irrelevance", 240, "irrelevance"),
        Category("live_simple", 258, "ast"),
        Category("live_multiple", 1053, "ast"),
        Category("live_parallel", 16, "ast"),
        Category("live_parallel_multiple", 24, "ast"),
        Category("live_irrelevance", 882, "irrelevance"),
        Category("live_relevance", 18, "relevance"),
        Category("multi_turn_base", 200, "multi_turn"),
        Category("multi_turn_miss_func", 200, "multi_turn"),
        Category("multi_turn_miss_param", 200, "multi_turn"),
        Category("multi_turn_long_context", 200, "multi_turn"),
        Category("exec_simple", 100, "exec"),
        Category("exec_multiple", 50, "exec"),
        Category("exec_parallel", 50, "exec"),
        Category("exec_parallel_multiple", 40, "exec"),
        Category("rest", 70, "rest"),
    )
}
"""Every category by name, in the order of the official tables."""
PARTS = {
    part: tuple(name for name, category in CATEGORIES.items() if category.part == part)
    for part in ("non_live", "live", "multi_turn", "exec")
}
"""Parts of the benchmark to their categories."""


def category_of(entry_id: str) -> Category:
    """The category that an entry id such as `live_simple_3-2-0` names.

    Raises:
        KeyError: no category has that name.
    """
    return CATEGORIES[entry_id.rpartition("_")[0]]
