"""Settings and the calendar: few keys, all checked; days come from the settings, then from the
landing folder, then from the clock.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.policy import PolicyError
from pipelines.schema import DAILY
from pipelines.settings import PROJECT, Home, Payouts, Settings, SettingsError, Spark, Witness

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


def landed(home: Home, *days: str, table: str = "viewer_events") -> None:
    for day in days:
        (home.landing / table / day).mkdir(parents=True)


def write(home: Home, text: str) -> Path:
    path = home.root / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_there_are_defaults(home):
    assert home.settings == Settings()
    assert home.settings.model_dump() == {
        **{
            "policy": "evidence",
            "first_day": None,
            "last_day": None,
            "quarantine_limit": 0.04,
            "lock_timeout_seconds": 30.0,
        },
        **{
            "threads": None,
            "memory_limit": None,
            "publish": True,
            "score_engine": "duckdb",
            "spark": Spark().model_dump(),
        },
        **{"warehouse": "duckdb:warehouse.duckdb", "snapshot_days": 90},
        **{"chunked_from": 5_000_000, "chunk_rows": 1_000_000, "ruled_up_to": 20_000_000},
        **{"currency": None, "locale": "en", "payouts": Payouts().model_dump()},
        "gaming_prices": {},
        "alerts": {"command": "", "webhook": ""},
        "shadow": {
            "policy": "",
            "days": 7,
            "most_moved": 0.05,
            "most_loss": 0.25,
            "least_micros": 1_000_000,
            "beyond": "refuse",
        },
        **{"witness": Witness().model_dump(), "second_approver": False},
    }


def test_every_key_can_be_set(home):
    write(
        home,
        'second_approver = true\ncurrency = "EUR"\nlocale = "de_DE"\n'
        'policy = "printed"\nfirst_day = 2026-01-01\nlast_day = "open"\nquarantine_limit ='
        ' 1\nlock_timeout_seconds = 0\nthreads = 2\nmemory_limit = "4GB"\npublish ='
        ' false\nscore_engine = "auto"\nwarehouse = "duckdb:w.duckdb"\nsnapshot_days ='
        " 30\nchunked_from = 10\nchunk_rows = 5\nruled_up_to = 7\ngaming_prices = {mimic = 3}\n[spark]\nfrom_events = 0\ndays ="
        ' [2026-01-02]\nmaster = "spark://there:7077"\ndriver_memory = "2g"\nshuffle_partitions ='
        ' 9\nfolder = "/shared"\noptions = { "spark.executor.memory" = "8g" }\n'
        '[payouts]\nname = "P"\naccount = "DE89370400440532013000"\nbank = "COBADEFF"\n'
        'minimum_cents = 5\nclearing_days = 3\n[witness]\nfile = "heads"\n'
        '[alerts]\ncommand = "mail ops"\n'
        '[shadow]\npolicy = "next"\ndays = 3\nmost_moved = 0\nmost_loss = 1\nleast_micros = 0\n'
        'beyond = "warn"\n',
    )
    assert home.settings.model_dump() == {
        **{
            "policy": "printed",
            "first_day": date(2026, 1, 1),
            "last_day": "open",
            "quarantine_limit": 1.0,
            "lock_timeout_seconds": 0.0,
        },
        **{"threads": 2, "memory_limit": "4GB", "publish": False, "score_engine": "auto"},
        **{"chunked_from": 10, "chunk_rows": 5, "ruled_up_to": 7, "gaming_prices": {"mimic": 3.0}},
        "spark": {
            **{
                "from_events": 0,
                "days": (date(2026, 1, 2),),
                "master": "spark://there:7077",
                "driver_memory": "2g",
            },
            **{
                "shuffle_partitions": 9,
                "folder": Path("/shared"),
                "options": {"spark.executor.memory": "8g"},
            },
        },
        **{
            "warehouse": "duckdb:w.duckdb",
            "snapshot_days": 30,
            "currency": "EUR",
            "locale": "de_DE",
        },
        "payouts": {
            **{"name": "P", "account": "DE89370400440532013000", "bank": "COBADEFF"},
            **{"minimum_cents": 5, "clearing_days": 3},
        },
        **{"witness": {"file": "heads", "command": "", "read": ""}, "second_approver": True},
        "alerts": {"command": "mail ops", "webhook": ""},
        "shadow": {
            **{"policy": "next", "days": 3, "most_moved": 0.0, "most_loss": 1.0},
            **{"least_micros": 0, "beyond": "warn"},
        },
    }
    assert home.policies.versions[0].name == "printed"


WRONG = {
    "unknown key": ("polcy = 1", "polcy: Extra inputs"),
    "unknown section": ("[settings]\npolicy = 'x'", "settings: Extra inputs"),
    "number for text": ("policy = 1", "policy: "),
    "text for a number": ('quarantine_limit = "0.04"', "quarantine_limit: "),
    "true for a number": ("threads = true", "threads: "),
    "text for true": ('publish = "no"', "publish: "),
    "a limit above one": ("quarantine_limit = 4", "quarantine_limit: .*less than or equal to 1"),
    "a limit that is no number": ("quarantine_limit = nan", "quarantine_limit: "),
    "a negative wait": ("lock_timeout_seconds = -1", "lock_timeout_seconds: "),
    "no threads": ("threads = 0", "threads: "),
    "chunks of nothing": ("chunk_rows = 0", "chunk_rows: "),
    "an engine that is none": ('score_engine = "pandas"', "score_engine: "),
    "a Spark key that is none": ("[spark]\nmemory = '4g'", "spark.memory: Extra inputs"),
    "Spark's memory in other letters": ("[spark]\ndriver_memory = '4GB'", "spark.driver_memory: "),
    "a warehouse of another kind": ('warehouse = "sqlite:x"', "warehouse: String should match"),
    "a lake without data": (
        'warehouse = "ducklake:postgres:service=e"',
        "warehouse: String should match",
    ),
    "no days": ("snapshot_days = 0", "snapshot_days: "),
    "memory without a unit": ('memory_limit = "lots"', "memory_limit: "),
    "no day": ('first_day = "monday"', "first_day: "),
    "a number for a day": ("first_day = 86400", "first_day: "),
    "neither day nor open": ('last_day = "closed"', "last_day"),
    "days in the wrong order": (
        "first_day = 2026-01-02\nlast_day = 2026-01-01",
        "settings: .*first_day = 2026-01-02 is after last_day = 2026-01-01",
    ),
    "two witnesses": ('[witness]\nfile = "a"\ncommand = "b"\nread = "c"', "witness: .*either"),
    "a witness that cannot be asked": ('[witness]\ncommand = "b"', "witness: .*either"),
    "a currency that is none": ('currency = "euro"', "currency: "),
    "an account with a wrong digit": (
        '[payouts]\naccount = "DE89370400440532013001"',
        "payouts: .*check digits are wrong",
    ),
    "not TOML": ("policy = ", "Invalid value"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_refused_by_file_key_and_reason(home, text, message):
    path = write(home, text)
    with pytest.raises(SettingsError, match=message) as error:
        home.settings  # noqa: B018
    assert str(error.value).startswith(f"{path}: ")


def test_a_file_that_cannot_be_read_is_named(home):
    (home.root / "settings.toml").write_bytes(b'policy = "gr\xfcn"')
    with pytest.raises(SettingsError, match=r"settings\.toml"):
        home.settings  # noqa: B018
    (home.root / "settings.toml").unlink()
    (home.root / "settings.toml").mkdir()
    with pytest.raises(SettingsError, match=r"settings\.toml"):
        Home(home.root).settings  # noqa: B018


# --------------------------------------------------------------------------------------------------
# Where things are


def test_the_home_is_what_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.delenv("EARNINGS_HOME", raising=False)
    assert Home.here().root == PROJECT / "assets_data"
    monkeypatch.setenv("EARNINGS_HOME", str(tmp_path / "a" / ".." / "b"))
    assert Home.here().root == tmp_path / "b"


def test_policies_of_the_home_come_before_those_that_ship(home, monkeypatch):
    assert home.policies.versions[0].name == "evidence"
    monkeypatch.setenv("EARNINGS_POLICY", "printed")
    assert home.policies.versions[0].name == "printed"
    (home.root / "policies").mkdir()
    with pytest.raises(PolicyError, match="no policy is called 'printed'; there is none"):
        home.policies  # noqa: B018
    (home.root / "policies" / "mine.toml").write_text(
        'name = "printed"\neffective_from = 2026-01-01\n[pulse]\ntop_fraction = 0.5\n'
    )
    assert home.policies.versions[0].pulse.top_fraction == 0.5


# --------------------------------------------------------------------------------------------------
# The calendar


def test_days_are_folders_of_days_in_order(home):
    landed(
        home,
        "2026-03-10",
        "2026-03-02",
        "20260305",
        "2026-W10-4",
        "2026-02-30",
        "notes",
        ".2026-03-01",
    )
    (home.landing / "viewer_events" / "2026-03-01").write_text("a file")
    assert home.landing_days("viewer_events") == [date(2026, 3, 2), date(2026, 3, 10)]
    assert home.landing_days("gifts") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (date(2026, 3, 2), date(2026, 3, 10))),
        ("first_day = 2026-03-05", (date(2026, 3, 5), date(2026, 3, 10))),
        ("last_day = 2026-03-05", (date(2026, 3, 2), date(2026, 3, 5))),
        ("first_day = 2026-02-01\nlast_day = 2026-04-01", (date(2026, 2, 1), date(2026, 4, 1))),
        ("first_day = 2026-03-20", (date(2026, 3, 20), date(2026, 3, 20))),
        ('last_day = "open"', (date(2026, 3, 2), max(YESTERDAY, date(2026, 3, 2)))),
    ],
)
def test_the_calendar_is_the_settings_then_the_landing_folder(home, text, expected):
    landed(home, "2026-03-05", "2026-03-10")
    landed(home, "2026-03-02", table="gifts")
    landed(
        home, "2026-01-01", "2026-12-31", table="videos"
    )  # snapshots hold from a day on; they make no day of their own
    write(home, text)
    assert home.calendar() == expected


def test_the_calendar_of_an_empty_home_is_yesterday(home):
    first, last = home.calendar()
    assert first == last
    assert first in (
        YESTERDAY,
        YESTERDAY + timedelta(days=1),
    )  # the clock may pass midnight meanwhile


@pytest.mark.parametrize("table", [t.name for t in DAILY])
def test_the_day_before_is_the_latest_with_files_of_any_daily_table(home, table):
    landed(home, "2026-03-02", "2026-03-04", table=table)
    landed(home, "2026-03-08", table="gifts" if table != "gifts" else "ad_revenue")
    landed(home, "2026-03-03", "2026-03-07", table="videos")
    days = [date(2026, 3, n) for n in range(1, 11)]
    before = {day.day: found.day if (found := home.day_before(day)) else None for day in days}
    assert before == {1: None, 2: None, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 8: 4, 9: 8, 10: 8}


def test_the_day_before_does_not_leave_the_calendar(home):
    landed(home, "2026-03-02", "2026-03-04", "2026-03-06")
    write(home, "first_day = 2026-03-04")
    assert [home.day_before(date(2026, 3, n)) for n in (2, 4, 5, 6)] == [
        None,
        None,
        date(2026, 3, 4),
        date(2026, 3, 4),
    ]


# --------------------------------------------------------------------------------------------------
# Where the warehouse is


def test_a_file_may_have_another_name(home):
    assert (home.warehouse, home.lake) == (home.root / "warehouse.duckdb", None)
    write(home, 'warehouse = "duckdb:data/w.duckdb"')
    assert Home.at(home.root).warehouse == home.root / "data" / "w.duckdb"


ADDRESSES = {
    "a folder of the home": ("host=db dbname=e?data=lake", "host=db dbname=e", "{root}/lake", None),
    "a bucket": ("service=e?data=s3://b/lake", "service=e", "s3://b/lake", None),
    "a password among words": (
        "host=db password=${PW} user=u?data=/d",
        "host=db user=u",
        "/d",
        "it's a 'secret' @ host=x",
    ),
    "a password in a URI": (
        "postgresql://u:${PW}@db/e?sslmode=verify-full?data=/d",
        "postgresql://u@db/e?sslmode=verify-full",
        "/d",
        "it's a 'secret' @ host=x",
    ),
    "everything from the environment": (
        "${DSN}?data=${DATA}",
        "host=h user=u",
        "s3://there",
        "quiet",
    ),
}


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_lake_has_an_address_without_its_password(home, monkeypatch, name):
    given, dsn, data, password = ADDRESSES[name]
    monkeypatch.setenv("PW", "it's a 'secret' @ host=x")
    monkeypatch.setenv("DSN", "host=h password=quiet user=u")
    monkeypatch.setenv("DATA", "s3://there")
    write(home, f'warehouse = "ducklake:postgres:{given}"')
    lake = home.lake
    assert lake
    assert (lake.dsn, lake.data, lake.password) == (dsn, data.format(root=home.root), password)
    assert not password or password not in str(lake)


@pytest.mark.parametrize(
    "dsn",
    ["host=db password=secret", "host=db password='a secret' user=x", "postgresql://u:secret@db/e"],
)
def test_a_password_in_plain_text_is_refused_and_not_repeated(home, dsn):
    write(home, f'warehouse = "ducklake:postgres:{dsn}?data=lake"')
    with pytest.raises(SettingsError, match="a password must not stand in the address") as error:
        _ = home.lake
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("data", [".", "..", "/", "landing", "landing/lake"])
def test_a_lake_needs_a_folder_of_its_own(home, data):
    write(home, f'warehouse = "ducklake:postgres:service=e?data={data}"')
    with pytest.raises(SettingsError, match="a folder of its own"):
        _ = home.lake


def test_a_variable_that_is_not_set_is_named(home):
    write(home, 'warehouse = "ducklake:postgres:host=${NO_SUCH_HOST}?data=lake"')
    with pytest.raises(SettingsError, match="the environment has no NO_SUCH_HOST"):
        _ = home.lake


def test_the_environment_says_where_the_warehouse_is_before_the_settings_do(home, monkeypatch):
    write(home, 'warehouse = "duckdb:w.duckdb"')
    monkeypatch.setenv("EARNINGS_WAREHOUSE", "ducklake:postgres:service=e?data=lake")
    assert str(home.lake) == f"ducklake:postgres:service=e?data={home.root}/lake"
    monkeypatch.setenv("EARNINGS_WAREHOUSE", "mysql:there")
    with pytest.raises(SettingsError, match="neither duckdb:<file> nor ducklake:postgres"):
        _ = home.lake
