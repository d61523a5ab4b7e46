"""The small platform of the ledger's tests, closed, with payees of every kind."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.ledger.closing import close
from pipelines.settings import Home
from tests.cases.five_days import DAYS, SETTINGS

ON = date(2026, 3, 10)
PAYER = (
    'currency = "EUR"\n[payouts]\nname = "Platform AG"\naccount = "DE89370400440532013000"\n'
    'bank = "COBADEFFXXX"\n'
)


def iban(number: int) -> str:
    """An IBAN of a bank that there is not."""
    digits = f"{0:08d}{number:010d}"
    return f"DE{98 - int(digits + '131400') % 97:02d}{digits}"


def payee(creator: str, number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "owner": f"creator:{creator}",
        "name": f"Holder {creator}",
        "account": iban(number),
        "currency": "EUR",
        "country": "DE",
        **changes,
    }


def deliver(home: Home, rows: list[Mapping[str, Any]], day: date = DAYS[0]) -> Path:
    """Land payees as the whole delivery of a day."""
    path = home.landing / "payees" / f"{day}" / "payees.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="session")
def closed_once(made_once: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = shutil.copytree(made_once.root, tmp_path_factory.mktemp("closed") / "home")
    (root / "settings.toml").write_text(SETTINGS + PAYER)
    home = Home.at(root)
    close(home, DAYS[-1])
    return home


@pytest.fixture
def closed(closed_once: Home, tmp_path: Path) -> Home:
    """The small platform, closed through its last day; nobody is paid yet."""
    return Home.at(shutil.copytree(closed_once.root, tmp_path / "closed"))
