"""`Fraction`: two integers without a common factor."""

from fractions import Fraction
from typing import Any, Final

from actors.transport.errors import Undecodable
from actors.transport.types.adapters import Adapter, by_reference

__all__ = ["ADAPTERS"]


def _fraction(numerator: Any, denominator: Any) -> Fraction:
    if type(numerator) is not int or type(denominator) is not int or denominator <= 0:
        raise Undecodable("a fraction is an integer and a positive one")
    # Its constructor would look for a common factor, which takes minutes for numbers of some hundred kilobytes.
    made: Any = object.__new__(Fraction)
    for slot, number in zip(Fraction.__slots__, (numerator, denominator), strict=True):
        setattr(made, slot, number)
    fraction: Fraction = made
    return fraction


ADAPTERS: Final[dict[type, Adapter]] = {
    Fraction: Adapter(
        lambda value: (value.numerator, value.denominator), _fraction, copy=by_reference
    ),
}
