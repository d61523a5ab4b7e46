"""Where things are, and the handful of settings a home may have.

A home is one folder with everything of one platform: `landing/`, `warehouse.duckdb` (or the address
of a lake), its own `policies/` if it has any, and an optional `settings.toml`. `EARNINGS_HOME` or
`earnings --home` names it; `Home.default` says which it is otherwise.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import ExpectedError
from pipelines.policy import PolicyBook
from pipelines.schema import DAILY, DELIVERED

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "shipped"
# the checkout, or in an installed wheel the files that came with it, laid out alike (setup.py)
PROJECT = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent
SAMPLE = PROJECT / "assets_data" / "sample"


class SettingsError(ExpectedError, ValueError):
    """A settings file that cannot be used: says which file, which key and why."""


class CalendarError(ExpectedError, ValueError):
    """Days, or assets of a day, that a home does not have."""


_FILE = re.compile(r"duckdb:(?P<file>.+)")
_LAKE = re.compile(r"ducklake:postgres:(?P<dsn>.+)\?data=(?P<data>[^?]+)")
_PASSWORD = re.compile(
    r"(?<=://)(?P<user>[^:/@]*):(?P<in_uri>[^@]*)(?=@)|\bpassword\s*=\s*(?P<named>'[^']*'|[^\s&]*)[\s&]?"
)


@dataclass(frozen=True)
class LakeAddress:
    """Where a lake is: its catalogue in PostgreSQL (libpq's words, never with a password), its
    files, and the password if one was given.
    """

    dsn: str
    data: str
    password: str | None = field(repr=False)

    def __str__(self) -> str:
        return f"ducklake:postgres:{self.dsn}?data={self.data}"


class Spark(BaseModel):
    """Section `[spark]` of `settings.toml`: who runs the sums of the score for days that one
    machine should not add up, and with what.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_events: Annotated[int, Field(ge=0)] = Field(
        200_000_000, description="`auto`: events in the window from which Spark adds up"
    )
    days: tuple[date, ...] = Field(
        (), description="`auto`: days that Spark adds up whatever their size"
    )
    master: str = Field(
        "local[*]", description="Spark master; `local[*]` is this machine, all cores"
    )
    driver_memory: Annotated[str, Field(pattern=r"^[0-9]+[kmgt]$")] = Field(
        "4g", description="memory of the driver; locally that is all"
    )
    shuffle_partitions: Annotated[int, Field(ge=1)] = Field(
        64, description="parts that the events are sorted into; more for bigger days"
    )
    folder: Path | None = Field(
        None,
        description="where rows and sums are handed over; for a cluster, one that its workers see",
    )
    options: dict[str, str] = Field(
        {}, description="any other Spark option, e.g. `spark.executor.memory`"
    )


class Payouts(BaseModel):
    """Section `[payouts]` of `settings.toml`: from which account creators are paid, and from which
    amount on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", max_length=70, description="holder of the account that pays")
    account: Annotated[str, Field(pattern=r"^([A-Z]{2}[0-9]{2}[A-Z0-9]{11,30})?$")] = Field(
        "", description="its IBAN; left out, no bank file is written"
    )
    bank: Annotated[str, Field(pattern=r"^([A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?)?$")] = (
        Field("", description="BIC of its bank, where the bank wants one")
    )
    minimum_cents: Annotated[int, Field(ge=1)] = Field(
        1, description="less is left for the next run; a payee's own minimum goes first"
    )
    clearing_days: Annotated[int, Field(ge=0)] = Field(
        10, description="days after which a payment the bank did not answer is a finding"
    )

    @model_validator(mode="after")
    def _check_digits(self) -> Payouts:
        # ISO 13616: country and check digits go to the end, letters count from 10
        turned = self.account[4:] + self.account[:4]
        if self.account and int("".join(str(int(c, 36)) for c in turned)) % 97 != 1:
            raise ValueError(f"account = {self.account} is not an IBAN: its check digits are wrong")
        return self


class Witness(BaseModel):
    """Section `[witness]` of `settings.toml`: where the ledger's heads are noted outside of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(
        "", description="file that is only appended to, e.g. on a mount that keeps what it has"
    )
    command: str = Field("", description="or a command that appends the lines it is given")
    read: str = Field("", description="and one that prints all lines")

    @property
    def configured(self) -> bool:
        return bool(self.file or self.command)

    @model_validator(mode="after")
    def _one(self) -> Witness:
        if bool(self.command) != bool(self.read) or (self.file and self.command):
            raise ValueError("either file, or command together with read")
        return self


class Shadow(BaseModel):
    """Section `[shadow]` of `settings.toml`: a policy that every day is also paid under, beside the
    books, and how much a new version may move before somebody has to confirm it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str = Field(
        "",
        description="name of the policy; that of the one that pays: its next version. Empty: none",
    )
    days: Annotated[int, Field(ge=1)] = Field(
        7, description="a new version is judged by so many of the latest days in shadow"
    )
    most_moved: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="part of the creators' money that may go to somebody else"
    )
    most_loss: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25, description="part of what a creator gets that may be lost"
    )
    least_micros: Annotated[int, Field(ge=0)] = Field(
        1_000_000, description="creators who got less on these days may lose any part of it"
    )
    beyond: Literal["refuse", "warn"] = Field(
        "refuse", description="what becomes of a day under a version that moves more"
    )


class Alerts(BaseModel):
    """Section `[alerts]` of `settings.toml`: who is told of a run that failed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str = Field(
        "", description="command of the shell; gets JSON on standard input, e.g. one that mails it"
    )
    webhook: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = Field(
        "", description="address that the same JSON is posted to (`text` is for people)"
    )

    @property
    def configured(self) -> bool:
        return bool(self.command or self.webhook)


class Settings(BaseModel):
    """Contents of `settings.toml`; every key may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str = Field("evidence", description="name of the policy that pays")
    first_day: date | None = Field(
        None, description="first day of the calendar; left out: the earliest day in landing/"
    )
    last_day: date | Literal["open"] | None = Field(
        None,
        description=(
            "last day; `open`: yesterday, for a platform that goes on; left out: the latest day in"
            " landing/"
        ),
    )
    warehouse: Annotated[str, Field(pattern=f"^({_FILE.pattern}|{_LAKE.pattern})$")] = Field(
        "duckdb:warehouse.duckdb",
        description=(
            "`duckdb:<file>`, or `ducklake:postgres:<libpq dsn>?data=<folder or s3://...>`;"
            " `${NAME}`: from the environment"
        ),
    )
    snapshot_days: Annotated[int, Field(ge=1)] = Field(
        90, description="a lake's states older than that are forgotten by `earnings prune`"
    )
    quarantine_limit: Annotated[float, Field(ge=0, le=1)] = Field(
        0.04, description="share of bad rows from which a day is refused"
    )
    lock_timeout_seconds: Annotated[float, Field(ge=0)] = Field(
        30.0, description="how long to wait for another writer, or a lake's server"
    )
    threads: Annotated[int, Field(ge=1)] | None = Field(
        None, description="DuckDB threads of a process; left out: one a core, shared by workers"
    )
    memory_limit: Annotated[str, Field(pattern=r"^[0-9.]+ *[KMGT]i?B$")] | None = Field(
        None,
        description=(
            "DuckDB memory limit of a process, e.g. `4GB`; left out: 80 % of the machine's, shared"
            " by the workers of a run"
        ),
    )
    gaming_prices: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {},
        description="what a thousand accounts of an attacker of `earnings lab gaming` cost, in"
        ' currency units, e.g. `"mimic" = 12.0`; left out: street prices',
    )
    chunked_from: Annotated[int, Field(ge=0)] = Field(
        5_000_000, description="ad pools with more videos are split in chunks, from disk"
    )
    chunk_rows: Annotated[int, Field(ge=1)] = Field(1_000_000, description="rows in memory then")
    ruled_up_to: Annotated[int, Field(ge=0)] = Field(
        20_000_000,
        description=(
            "ad pools under rules over groups are split in memory; with more videos than that,"
            " refused"
        ),
    )
    score_engine: Literal["duckdb", "spark", "auto"] = Field(
        "duckdb", description="what adds up the events of the quality score"
    )
    spark: Spark = Field(Spark(), description="section of its own")
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = Field(
        None,
        description="the currency of all amounts (ISO 4217), with cents; needed before anybody is"
        " paid",
    )
    locale: Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")] = Field(
        "en",
        description="how amounts and days are written on statements whose payee says nothing else,"
        " e.g. `de_DE`",
    )
    payouts: Payouts = Field(Payouts(), description="section of its own")
    witness: Witness = Field(Witness(), description="section of its own")
    shadow: Shadow = Field(Shadow(), description="section of its own")
    second_approver: bool = Field(
        False, description="closing and paying need two people who ask for the same"
    )
    alerts: Alerts = Field(Alerts(), description="section of its own")
    publish: bool = Field(
        True, description="keep a read-only copy for notebooks and BI beside the warehouse"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Settings:
        if self.first_day and isinstance(self.last_day, date) and self.first_day > self.last_day:
            raise ValueError(f"first_day = {self.first_day} is after last_day = {self.last_day}")
        return self


@dataclass(frozen=True)
class Home:
    """One platform's folder."""

    root: Path

    @classmethod
    def at(cls, root: str | Path) -> Home:
        """The home in a folder."""
        return cls(Path(root).resolve())

    @classmethod
    def here(cls) -> Home:
        """The home `EARNINGS_HOME` names, or the default one."""
        return cls.at(os.environ.get("EARNINGS_HOME") or cls.default())

    @classmethod
    def default(cls) -> Path:
        """The home that nobody named: `assets_data/` of the checkout. Where the software is
        installed: the current folder if it is a home already, else `~/creator-earnings`.
        """
        if PROJECT != _INSTALLED:
            return PROJECT / "assets_data"
        here = Path.cwd()
        if any((here / name).exists() for name in ("landing", "settings.toml")):
            return here
        return Path.home() / "creator-earnings"

    def refuse_if_unwritable(self) -> None:
        """Raise SettingsError unless files can be made in the home: it says which folder, and
        why.
        """
        try:
            self.dagster.mkdir(parents=True, exist_ok=True)
            for folder in (self.root, self.dagster):
                with TemporaryFile(dir=folder, prefix=".writable-"):
                    pass
        except OSError as error:
            raise SettingsError(
                f"{self.root}: nothing can be written there ({error.strerror}). Choose another"
                " folder with --home or EARNINGS_HOME, or give this user the right to write to it."
            ) from error

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def _address(self) -> str:
        return os.environ.get("EARNINGS_WAREHOUSE") or self.settings.warehouse

    @property
    def warehouse(self) -> Path:
        """The warehouse's file; a home whose warehouse is a lake has none."""
        address = _FILE.fullmatch(self._address)
        return self.root / (address["file"] if address else "no-file")

    @property
    def lake(self) -> LakeAddress | None:
        """The address of the warehouse if it is a lake; None if it is a file.

        Raises
        ------
        SettingsError
            It is neither, holds a password in plain text, or names an environment variable that is
            not set.
        """
        address = self._address
        if _FILE.fullmatch(address):
            return None
        if not (found := _LAKE.fullmatch(address)):
            raise SettingsError(
                "EARNINGS_WAREHOUSE: neither duckdb:<file> nor ducklake:postgres:<libpq"
                " dsn>?data=<folder or s3://...>"
            )
        written, dsn = _without_password(found["dsn"])
        if written and not re.fullmatch(r"\$\{\w+\}", written):
            raise SettingsError(
                "warehouse: a password must not stand in the address. Write password=${NAME} and"
                " set NAME in the environment, or use PGPASSWORD, PGPASSFILE or a service file of"
                " libpq."
            )
        inside, dsn = _without_password(_from_environment(dsn))
        data = _from_environment(found["data"])
        if "://" not in data:
            folder = (self.root / data).resolve()
            if self.root.is_relative_to(folder) or folder.is_relative_to(self.landing):
                raise SettingsError(
                    f"warehouse: {folder}: a lake needs a folder of its own, for `earnings prune`"
                    " deletes what it does not know"
                )
            data = str(folder)
        password = _from_environment(written) if written else inside
        return LakeAddress(dsn, data, password)

    @property
    def published(self) -> Path:
        return self.root / "warehouse-readonly.duckdb"

    @property
    def dagster(self) -> Path:
        return self.root / ".dagster"

    @cached_property
    def settings(self) -> Settings:
        """Settings of this home.

        Raises
        ------
        SettingsError
            `settings.toml` cannot be parsed, or has an unknown key or an impossible value.
        """
        path = self.root / "settings.toml"
        if not path.exists():
            return Settings()
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
            return Settings.model_validate_json(json.dumps(data, default=str), strict=True)
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: {error}") from error
        except ValidationError as error:
            reasons = [
                f"{path}: {'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}"
                for e in error.errors()
            ]
            raise SettingsError("\n".join(reasons)) from error

    @property
    def policies(self) -> PolicyBook:
        """Versions of the policy that pays, from the home's own `policies/` or else the ones that
        ship.
        """
        return PolicyBook.read(
            self.policy_folder, os.environ.get("EARNINGS_POLICY") or self.settings.policy
        )

    @property
    def policy_folder(self) -> Path:
        """Where policy files are: the home's own `policies/`, or those that ship."""
        own = self.root / "policies"
        return own if own.is_dir() else PROJECT / "assets_data" / "policies"

    def landing_days(self, table: str) -> list[date]:
        """Days for which a table has a landing folder, in order."""
        folder = self.landing / table
        try:
            with os.scandir(folder) as entries:  # years of days: nothing is asked of each
                return sorted(day for e in entries if (day := _as_day(e.name)) and e.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def unread(self) -> list[Path]:
        """What lies in `landing/` and belongs to no table: a misspelt folder would otherwise be
        noticed by nobody.
        """
        if not self.landing.is_dir():
            return []
        return sorted(
            p
            for p in self.landing.iterdir()
            if p.name not in DELIVERED and not p.name.startswith((".", "_"))
        )

    def landed(self) -> list[date]:
        """Days for which any daily table has a landing folder, in order."""
        return sorted({day for table in DAILY for day in self.landing_days(table.name)})

    def calendar(self, landed: Sequence[date] | None = None) -> tuple[date, date]:
        """First and last day that can be run.

        The settings decide; where they are silent the days in `landing/` do, and with an empty
        landing folder it is yesterday. `landed`: what `landed()` says, for those who know it.
        """
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        days = (self.landed() if landed is None else landed) or [yesterday]
        first = self.settings.first_day or days[0]
        last = self.settings.last_day or days[-1]
        return first, max(first, yesterday if last == "open" else last)

    def due(self, landed: Sequence[date] | None = None) -> list[date]:
        """Days that ought to have been delivered, if only to say that nothing happened: from the
        first day of the calendar to the last that has landed, or to yesterday if it is open.
        """
        landed = self.landed() if landed is None else landed
        opened = self.settings.last_day == "open"
        if not landed and not (opened and self.settings.first_day):
            return []
        first, last = self.calendar(landed)
        last = last if opened else min(last, landed[-1])
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]

    def missing(self, landed: Sequence[date] | None = None) -> list[date]:
        """Days that ought to have been delivered, and for which no daily table has a folder."""
        landed = self.landed() if landed is None else landed
        there = set(landed)
        return [day for day in self.due(landed) if day not in there]

    def landed_ranges(self) -> list[tuple[date, date]]:
        """Runs of consecutive days of the calendar that have landed; its last day when none has."""
        landed = self.landed()
        first, last = self.calendar(landed)
        ranges: list[tuple[date, date]] = []
        for day in [d for d in landed if first <= d <= last] or [last]:
            if ranges and day - ranges[-1][1] == timedelta(days=1):
                ranges[-1] = (ranges[-1][0], day)
            else:
                ranges.append((day, day))
        return ranges

    def day_before(self, day: date) -> date | None:
        """The latest earlier day of the calendar for which any daily table has a landing folder;
        None for the first.
        """
        landed = self.landed()
        first, _ = self.calendar(landed)
        return max((d for d in landed if first <= d < day), default=None)


def _without_password(dsn: str) -> tuple[str | None, str]:
    """The password in a DSN, and the DSN without it.

    >>> _without_password("host=db password='a b' user=x")
    ('a b', 'host=db user=x')
    >>> _without_password("postgresql://x:secret@db/earnings")
    ('secret', 'postgresql://x@db/earnings')
    >>> _without_password("service=earnings")
    (None, 'service=earnings')
    """
    password = _PASSWORD.search(dsn)
    if not password:
        return None, dsn
    rest = dsn[: password.start()] + (password["user"] or "") + dsn[password.end() :]
    return password["in_uri"] or (password["named"] or "").strip("'"), rest.strip()


def _from_environment(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise SettingsError(
                f"warehouse: the environment has no {match[1]}, which the address names"
            )
        return os.environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", value, text)


def _as_day(name: str) -> date | None:
    try:
        day = date.fromisoformat(name)
    except ValueError:
        return None
    return (
        day if name == day.isoformat() else None
    )  # 20260305 and 2026-W10-4 would name a folder that nobody reads
