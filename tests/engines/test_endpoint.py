"""Addresses of endpoints in all the ways that people write them."""

from __future__ import annotations

import pytest

from coalm.engines.endpoint import Address
from coalm.errors import EngineError


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/chat/completions", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/completions/", "http://localhost:8000/v1"),
        (" https://a.example/openai/v1beta \n", "https://a.example/openai/v1beta"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
        ("https://user:secret@a.example/v1", "https://a.example/v1"),
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1"),
    ],
)
def test_the_base_of_an_address(url: str, base: str) -> None:
    assert Address.parse(url).base == base


def test_a_query_goes_with_every_request() -> None:
    address = Address.parse("https://a.example/v1/chat/completions?api-version=2&x=y")
    assert address == Address("https://a.example/v1", {"api-version": "2", "x": "y"}, False)


def test_openai_is_known_by_its_host_alone() -> None:
    assert Address.parse("https://api.openai.com/v1").is_openai
    assert not Address.parse("https://api.openai.com.evil.example/v1").is_openai


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://a/v1", "http://", "http://a:x/v1"])
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(EngineError, match=r"^remote_params.api_url: ") as caught:
        Address.parse(url)
    assert repr(url) in str(caught.value)
