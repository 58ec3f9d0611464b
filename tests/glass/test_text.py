"""Texts out of a page: nothing in them can command a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassloop.glass.text import clean, decode, duration, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("naïve 日本", "naïve 日本"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;cHdu\x1b\\after", "after"),
        ("\x9b31mred", "red"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("a\nb\tc\rd", "a b c d"),
        ("a\x00b", "a?b"),
        ("\u202egnp.exe", "?gnp.exe"),
        ("\ud800", "?"),
        ("\x1b", ""),
        ("\x1b[", ""),
    ],
)
def test_clean(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text(alphabet=st.characters(), max_size=600))
def test_what_is_clean_is_printable_and_short(text: str) -> None:
    shown = clean(text)
    assert shown.isprintable() and len(shown) <= 400
    assert clean(shown) == shown


@given(st.binary(max_size=3000))
def test_any_bytes_decode_to_something_printable(data: bytes) -> None:
    assert decode(data).isprintable()


def test_decode_ends_at_the_first_zero() -> None:
    assert decode(b"name\0rest") == "name"
    assert decode(b"\xff\xfe") == "\ufffd\ufffd"


def test_a_long_text_is_cut() -> None:
    assert clean("x" * 1000, 10) == "x" * 9 + "…"
    assert shorten("beginning-and-end", 9) == "begi…-end"
    assert shorten("short", 9) == "short" and shorten("longer", 3) == "lon"


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1500, "1.5 µs"),
        (123456, "123 µs"),
        (2_500_000, "2.5 ms"),
        (999_900_000, "1 s"),
        (2_340_000_000, "2.34 s"),
        (150 * 10**9, "2 min 30 s"),
        (3 * 3600 * 10**9, "3 h 0 min"),
        (72 * 3600 * 10**9, "3 d 0 h"),
        (-1500, "-1.5 µs"),
    ],
)
def test_duration(ns: int, shown: str) -> None:
    assert duration(ns) == shown
