from __future__ import annotations

import pytest

from coalm.evals.bfcl.aggregate import TABLE_4, Tally, official_tables
from coalm.evals.bfcl.categories import CATEGORIES


def all_right(*, without: tuple[str, ...] = ()) -> dict[str, Tally]:
    return {n: Tally(c.size, c.size) for n, c in CATEGORIES.items() if n not in without}


def test_coalm_8b_of_the_paper() -> None:
    """Right answers that its row of Table 4 implies."""
    counts = {"irrelevance": 215, "live_irrelevance": 674, "live_relevance": 14}
    tallies = {name: Tally(n, CATEGORIES[name].size) for name, n in counts.items()}
    columns = official_tables(tallies, executable=True).overall
    assert columns["Relevance Detection"] == pytest.approx(0.7778, abs=1e-4)
    assert columns["Irrelevance Detection"] == pytest.approx((215 / 240 + 674 / 882) / 2)


@pytest.mark.parametrize("executable", [True, False])
def test_all_right_is_100_percent_everywhere(executable: bool) -> None:
    for table in official_tables(all_right(), executable=executable):
        assert all(value == 1 for value in table.values())


def test_the_seven_columns_need_the_executable_categories() -> None:
    assert TABLE_4.keys() <= official_tables(all_right(), executable=True).overall.keys()
    without = official_tables(all_right(), executable=False).overall
    assert TABLE_4.keys() - without.keys() == {"Non-Live Exec Acc"}


def test_means_are_unweighted_but_for_live() -> None:
    half = {name: Tally(t.total / 2, t.total) for name, t in all_right().items()}
    tallies = half | {"java": Tally(100, 100), "live_simple": Tally(258, 258)}
    tables = official_tables(tallies, executable=False)
    assert tables.overall["Non-Live Simple AST"] == pytest.approx(2 / 3)
    assert tables.overall["Non-Live AST Acc"] == pytest.approx((2 / 3 + 1.5) / 4)
    assert tables.overall["Live Acc"] == pytest.approx((2251 / 2 + 129) / 2251)


def test_a_missing_category_hides_its_columns_and_counts_as_0_overall() -> None:
    columns = official_tables(all_right(without=("java", "rest")), executable=True).overall
    assert columns["Non-Live AST Acc"] is None
    assert columns["Non-Live Exec Acc"] is None
    assert columns["Live Acc"] == 1
    assert columns["Overall Acc"] == pytest.approx(((9 - 1 / 3 - 1 / 2) / 9 + 2) / 3)
