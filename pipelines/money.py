"""Amounts as people read them. Inside the software an amount is an integer of micros."""

from __future__ import annotations

MICROS_PER_CENT = 10_000


def money(micros: int) -> str:
    """Micros as currency units with all six digits.

    >>> money(-1_234_567_890)
    '-1,234.567890'
    """
    whole, rest = divmod(abs(micros), 1_000_000)
    return f"{'-' if micros < 0 else ''}{whole:,}.{rest:06d}"


def cents(amount: int) -> str:
    """Cents as currency units.

    >>> cents(-123_456)
    '-1,234.56'
    """
    whole, rest = divmod(abs(amount), 100)
    return f"{'-' if amount < 0 else ''}{whole:,}.{rest:02d}"
