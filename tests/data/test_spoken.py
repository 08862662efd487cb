from __future__ import annotations

import datetime

import pytest

from coalm.data.spoken import date_phrases, number_phrases, ordinal, plain, time_phrases

TODAY = datetime.date(2019, 3, 1)  # a Friday


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hi, it's  McDonald\u2019s!", " hi it s mcdonald s "),
        ("At 6:30 p.m., $1,320.50.", " at 6:30 p m 1320.50 "),
        ("living_room: 15%", " living room 15 percent "),
        ("v1.16.5 (a-b)", " v1.16.5 a b "),
        ("", "  "),
    ],
)
def test_plain_text_has_words_and_numbers_only(text: str, words: str) -> None:
    assert plain(text) == words


@pytest.mark.parametrize(
    ("hour", "minute", "said"),
    [
        (18, 30, "6:30 pm"),
        (18, 30, "half past 6 in the evening"),
        (18, 30, "six thirty p.m."),
        (18, 30, "evening 6:30"),
        (18, 30, "18:30"),
        (17, 45, "quarter to 6 in the evening"),
        (13, 15, "quarter past one in the afternoon"),
        (17, 0, "5 o'clock in the evening"),
        (17, 0, "five pm"),
        (11, 0, "morning 11"),
        (12, 0, "noon"),
        (0, 0, "midnight"),
        (0, 30, "12:30 am"),
        (12, 45, "quarter to one in the afternoon"),
        (9, 5, "9:05 am"),
    ],
)
def test_times_are_known_by_their_phrases(hour: int, minute: int, said: str) -> None:
    assert plain(said).strip() in time_phrases(hour, minute)


@pytest.mark.parametrize(("hour", "minute", "said"), [(6, 30, "6:30 pm"), (18, 30, "6:30 am")])
def test_the_other_half_of_the_day_is_another_time(hour: int, minute: int, said: str) -> None:
    assert plain(said).strip() not in time_phrases(hour, minute)


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("2019-03-01", "today"),
        ("2019-03-02", "tomorrow"),
        ("2019-03-03", "day after tomorrow"),
        ("2019-02-28", "yesterday"),
        ("2019-03-08", "next Friday"),
        ("2019-03-04", "next Monday"),
        ("2019-03-04", "Monday next week"),
        ("2019-03-02", "this Saturday"),
        ("2019-03-03", "Sunday this week"),
        ("2019-03-08", "the 8th"),
        ("2019-03-08", "8th of March"),
        ("2019-03-08", "March 8th"),
        ("2019-03-12", "the twelfth"),
        ("2019-03-21", "March 21st 2019"),
        ("2019-03-22", "the 22nd"),
        ("2019-04-03", "April 3"),
    ],
)
def test_dates_are_known_by_their_phrases(date: str, said: str) -> None:
    phrases = date_phrases(datetime.date.fromisoformat(date), TODAY)
    words = plain(said).strip()
    assert any(f" {phrase} " in f" {words} " for phrase in phrases)


@pytest.mark.parametrize(
    ("date", "said"),
    [("2019-03-08", "tomorrow"), ("2019-03-02", "next saturday"), ("2019-04-08", "the 8th")],
)
def test_other_days_are_not(date: str, said: str) -> None:
    phrases = date_phrases(datetime.date.fromisoformat(date), TODAY)
    found = [phrase for phrase in phrases if f" {phrase} " in f" {said} "]
    # the weekday alone is the day only within a week of today
    assert found in ([], ["saturday"], ["next saturday", "saturday"], ["saturday", "next saturday"])
    assert found == [] or date == "2019-03-02"


def test_without_a_today_a_date_needs_its_year() -> None:
    phrases = date_phrases(datetime.date(2022, 5, 10), None)
    assert "may 10th 2022" in phrases
    assert "10th of may 2022" in phrases
    assert "may 10th" not in phrases


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (2, "two"),
        (2, "couple"),
        (1320, "one thousand three hundred and twenty"),
        (1320, "1320"),
        (4.3, "4.3"),
        (4.3, "4.30"),
        (2.5, "two and a half"),
        (0.5, "half"),
        (0.15, "15 percent"),
        (5_000_000, "5 million"),
        (10_000, "10k"),
        (21, "twenty one"),
        (3, "3rd"),
        (-5, "5"),
        (1e300, "1e+300"),
    ],
)
def test_numbers_are_known_by_their_phrases(number: float, said: str) -> None:
    assert said in number_phrases(number)


def test_ordinals() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"]
    )
