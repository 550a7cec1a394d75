"""Values and errors, rounded alike wherever people read them."""

from __future__ import annotations

import re
from math import inf, nan
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxan.rounding import value_and_error

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.1497, 0.021, "0.150 ± 0.021"),
        (2547.3, 68.2, "2547 ± 68"),
        (2547.3, 684.0, "2550 ± 680"),
        (0.31, 0.0996, "0.31 ± 0.10"),
        (9.96, 9.97, "10 ± 10"),
        (-0.05, 0.011, "−0.050 ± 0.011"),
        (-0.001, 0.2, "0.00 ± 0.20"),
        (0.0, 0.03, "0.000 ± 0.030"),
        (5.49e11, 8.1e10, "(5.49 ± 0.81)e11"),
        (9.96e11, 1e11, "(1.00 ± 0.10)e12"),
        (1.23e-9, 4.5e-10, "(1.23 ± 0.45)e−9"),
        (0.0, 1e-9, "(0.0 ± 1.0)e−9"),
        (1.0, 2e7, "(0.0 ± 2.0)e7"),
        (1e300, 1e299, "(1.00 ± 0.10)e300"),
        (0.1497, 0.0, "0.1497 ± 0"),
        (0.1497, nan, "0.1497 ± unknown"),
        (0.1497, inf, "0.1497 ± unknown"),
        (0.1497, None, "0.1497 ± unknown"),
        (0.1497, -0.1, "0.1497 ± unknown"),
        (nan, 0.1, "unknown"),
    ],
)
def test_examples(value, error, text):
    assert value_and_error(value, error) == text


@given(st.floats(-1e20, 1e20), st.floats(1e-20, 1e20))
def test_what_is_printed_is_what_was_given_to_the_error_s_second_digit(value, error):
    text = value_and_error(value, error).replace("−", "-")
    numbers, _, power = text.strip("(").partition(")e")
    shown = [float(f"{number}e{power}" if power else number) for number in numbers.split(" ± ")]
    assert shown[1] == pytest.approx(error, rel=0.051)
    assert abs(shown[0] - value) <= 0.051 * error + 1e-15 * abs(value)
    if power:
        decimals = [len(number.partition(".")[2]) for number in numbers.split(" ± ")]
        assert decimals[0] == decimals[1]


def test_no_other_place_writes_a_value_with_its_error():
    for path in (ROOT / "fluxan").rglob("*.py"):
        if path.name != "rounding.py":
            assert not re.search(r"\} ± \{", path.read_text(encoding="utf-8")), path
