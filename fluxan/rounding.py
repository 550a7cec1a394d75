"""Rounding of a value and its error for output that people read."""

from __future__ import annotations

from math import inf, isfinite, isnan

#: Largest value, and largest number of decimal places, that are written without an exponent.
_LARGE, _DECIMALS = 1e6, 6
#: Decimal places of a mantissa beyond which float64 holds no digits.
_DIGITS = 15


def value_and_error(value: float, error: float | None) -> str:
    """Write the error to two significant digits, and the value to the same decimal place.

    Parameters
    ----------
    value : float
        The value.
    error : float or None
        In the unit of the value. None, a negative and a non-finite error count as unknown.

    Returns
    -------
    str
        ``0.150 ± 0.021``, ``2550 ± 680``, ``(5.49 ± 0.81)e11``; ``0.1497 ± unknown``; "unknown" for a value of NaN.
    """
    if isnan(value):
        return "unknown"
    if error is None or not 0 <= error < inf:
        return _minus(f"{value:.4g} ± unknown")
    if error == 0 or not isfinite(value):
        return _minus(f"{value:.4g} ± {error:.2g}")
    places = 1 - _exponent(error, 1)  # decimal place of the error's second digit
    if -_DECIMALS < places <= _DECIMALS and max(abs(value), error) < _LARGE:
        return _minus(f"{_fixed(value, places)} ± {_fixed(error, places)}")
    # A common exponent: that of the error, or of the rounded value where that is larger.
    power = 1 - places
    if value:
        power = max(power, _exponent(value, max(0, min(_DIGITS, _exponent(value, _DIGITS) + places))))
    if power + places > _DIGITS:  # the error is below the value's own round-off
        return _minus(f"{value:.{_DIGITS + 1}g} ± {error:.2g}")
    shown = (f"{_scaled(number, power):.{power + places}f}" for number in (value, error))
    return _minus(f"({' ± '.join(shown)})e{power}")


def _exponent(number: float, digits: int) -> int:
    """Power of ten of a number rounded to `digits` digits after the first: 0.0996 to two digits in all is 0.10."""
    return int(f"{number:.{digits}e}".partition("e")[2])


def _fixed(number: float, places: int) -> str:
    """A number to `places` decimal places; to tens and hundreds where they are negative."""
    return f"{round(number, places) + 0.0:.{max(places, 0)}f}"


def _scaled(number: float, power: int) -> float:
    """A number over a power of ten, computed from its decimal digits since 10**power may overflow."""
    mantissa, _, own = f"{number:.16e}".partition("e")
    return float(f"{mantissa}e{int(own) - power}")


def _minus(text: str) -> str:
    """Replace hyphens by minus signs."""
    return text.replace("-", "−")
