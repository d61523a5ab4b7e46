"""Amounts and days as a reader of some locale writes them: separators, order and names from CLDR,
by babel.

What belongs here: text. An amount is a whole number until here and a text afterwards; it never is a
float on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import (
    format_currency,
    format_decimal,
    get_currency_name,
    get_decimal_symbol,
    get_minus_sign_symbol,
)

FALLBACK = "en"
# Marks that turn the direction of writing: a page shows what is hidden in a text, and so these too.
_UNSEEN = dict.fromkeys((0x200E, 0x200F, 0x061C))


def known_locale(name: str | None) -> str | None:
    """The locale as babel calls it, or None where there is none of that name.

    >>> known_locale("de-CH"), known_locale("xx_YY")
    ('de_CH', None)
    """
    if not name:
        return None
    try:
        return str(Locale.parse(name.replace("-", "_")))
    except (UnknownLocaleError, ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Amounts:
    """One reader's way to write amounts of one currency; None: amounts have no currency.

    >>> de = Amounts("de_DE", "EUR")
    >>> de.cents(-1234567), de.micros(1234567890123)
    ('-12.345,67\\xa0€', '1.234.567,890123')
    >>> Amounts("en_IN", "INR").micros(12345678000001)
    '1,23,45,678.000001'
    """

    locale: str
    currency: str | None

    def cents(self, amount: int) -> str:
        """Whole cents with the currency."""
        return _cents(amount, self.currency, self.locale)

    def micros(self, amount: int) -> str:
        """Micros with all six digits, without the currency."""
        whole, rest = divmod(abs(amount), 1_000_000)
        grouped, point, minus = _whole(whole, self.locale), *_signs(self.locale)
        return f"{minus if amount < 0 else ''}{grouped}{point}{rest:06d}"

    def day(self, day: date) -> str:
        """A day, short and with all of its year."""
        return _day(day, self.locale)

    @property
    def currency_name(self) -> str:
        """What the reader calls the currency."""
        if not self.currency:
            return "currency units"
        return str(get_currency_name(self.currency, count=2, locale=self.locale))


@lru_cache(1 << 16)
def _cents(amount: int, currency: str | None, locale: str) -> str:
    value = Decimal(amount).scaleb(-2)
    if currency is None:
        return str(format_decimal(value, format="#,##0.00", locale=locale))
    text = format_currency(value, currency, locale=locale, currency_digits=False)
    return str(text).translate(_UNSEEN)


@lru_cache(1 << 16)
def _whole(amount: int, locale: str) -> str:
    return str(format_decimal(amount, locale=locale))


@lru_cache(1 << 10)
def _signs(locale: str) -> tuple[str, str]:
    return get_decimal_symbol(locale), get_minus_sign_symbol(locale).translate(_UNSEEN)


@lru_cache(1 << 14)
def _day(day: date, locale: str) -> str:
    return str(format_date(day, "medium", locale=locale)).translate(_UNSEEN)
