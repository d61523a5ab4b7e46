"""A lake whose data files are objects in a bucket: written, read, asked about the past, pruned; a
bucket that is not there or says no.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from pipelines.settings import Home
from pipelines.store.file_store import Past, WarehouseError
from pipelines.store.lake_files import whole_files
from pipelines.store.warehouse import Warehouse
from tests.lake.conftest import DAYS, Lakes, head, make

pytestmark = pytest.mark.lake
REGION = "eu-central-1"


@dataclass(frozen=True)
class Store:
    """An object store on the loopback address; anybody may do anything until it is `closed`."""

    endpoint: str
    client: Any

    def closed(self, closed: bool) -> None:
        """Whether it refuses keys that it does not know, which are all."""
        allowed = b"0" if closed else b"1000000000"
        asked = urllib.request.Request(
            f"{self.endpoint}/moto-api/reset-auth",
            data=allowed,
            headers={"Content-Type": "text/plain"},
        )
        urllib.request.urlopen(asked).close()

    def names(self, bucket: str) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {found["Key"] for page in pages for found in page.get("Contents", [])}


@pytest.fixture(scope="module")
def running() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def store(running: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name in ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    given = {
        "AWS_ACCESS_KEY_ID": "us",
        "AWS_SECRET_ACCESS_KEY": "our secret",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": running,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = Store(running, boto3.client("s3", endpoint_url=running, region_name=REGION))
    yield found
    found.closed(False)


@pytest.fixture
def bucket(store: Store, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("_", "-")[:60].strip("-")
    store.client.create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return name


@pytest.mark.slow
def test_days_in_a_bucket_are_those_of_a_file(
    lakes: Lakes, landed: Path, undisturbed: str, store: Store, bucket: str
) -> None:
    home = lakes.new(landed, data=f"s3://{bucket}/earnings/lake")
    make(home, DAYS[:1])
    between = head(home)
    with Warehouse(home).open() as con:
        (then,) = con.execute("SELECT max(snapshot_time) FROM warehouse.snapshots()").fetchall()[0]
    make(home, DAYS[1:])
    assert head(home) == undisturbed != between
    names = store.names(bucket)
    assert names
    with Warehouse(home).open() as con:  # for Spark, which reads them itself
        files, elsewhere = whole_files(
            con, "viewer_events", ("day", "event_id", "repeated"), f"day >= DATE '{DAYS[0]}'"
        )
    assert (len(files), elsewhere) == (len(DAYS), 0)
    assert {file.removeprefix(f"s3://{bucket}/") for file in files} <= names
    assert all(
        name.startswith("earnings/lake/main/") and name.endswith(".parquet") for name in names
    )
    assert not (home.root / "lake").exists()
    days = "SELECT DISTINCT day FROM viewer_events ORDER BY 1"
    with Warehouse(home).read(Past(at=then.astimezone(UTC).replace(tzinfo=None))) as con:
        assert con.execute(days).fetchall() == [(DAYS[0],)]
    store.client.put_object(Bucket=bucket, Key="earnings/other/kept.parquet", Body=b"not ours")
    with Warehouse(home).open() as con:
        con.execute("DELETE FROM viewer_events WHERE day = ?", [DAYS[1]])
    lakes.server.ask(
        "UPDATE ducklake_snapshot SET snapshot_time = snapshot_time - INTERVAL '100 days'",
        home.root.name,
    )
    assert "forgot" in " ".join(Warehouse(home).prune(dry_run=False))
    left = store.names(bucket)
    assert names - left
    assert "earnings/other/kept.parquet" in left
    make(home, DAYS[1:], only=("viewer_events",))
    assert head(home) == undisturbed
    with Warehouse(home).read() as con:
        assert con.execute(days).fetchall() == [(day,) for day in DAYS]


def test_a_bucket_that_says_no_stops_the_day_and_spoils_nothing(
    lakes: Lakes, landed: Path, store: Store, bucket: str
) -> None:
    home = lakes.new(landed, data=f"s3://{bucket}/lake")
    loaded = ("viewers", "creators", "videos", "invalid_traffic", "viewer_events")
    days = "SELECT day, count(*) FROM viewer_events GROUP BY day ORDER BY day"

    def read() -> list[Any]:
        with Warehouse(home).read() as con:
            return con.execute(days).fetchall()

    make(home, DAYS[:1], only=loaded)
    before, names = read(), store.names(bucket)
    store.closed(True)
    with pytest.raises(
        WarehouseError, match=r"cannot be read or written: .*(403|Forbidden|InvalidAccessKeyId)"
    ):
        make(home, DAYS[1:], only=loaded)
    store.closed(False)
    assert (read(), store.names(bucket)) == (before, names)
    make(home, DAYS[1:], only=loaded)
    assert [day for day, _ in read()] == DAYS


def test_a_bucket_that_is_not_there_is_named(lakes: Lakes, landed: Path, store: Store) -> None:
    home = lakes.new(landed, data="s3://no-such-bucket/lake")
    with pytest.raises(WarehouseError, match=r"cannot be read or written: .*no-such-bucket"):
        make(home, DAYS[:1])
    with Warehouse(home).read() as con:
        assert con.execute("SELECT count(*) FROM viewer_events").fetchall() == [(0,)]
        assert con.execute(
            "SELECT count(*) FROM written_days WHERE table_name = 'viewer_events'"
        ).fetchall() == [(0,)]


def test_without_a_key_it_is_looked_for_where_the_other_tools_look(
    lakes: Lakes, store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    home: Home = lakes.new(data=f"s3://{bucket}/lake")
    with (
        pytest.raises(
            WarehouseError, match="nothing says who we are to the bucket: set AWS_ACCESS_KEY_ID"
        ),
        Warehouse(home).open(),
    ):
        pass
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = of the profile\naws_secret_access_key = secret\n"
    )
    with Warehouse(home).open() as con:
        con.execute("CREATE TABLE numbers AS FROM range(100) AS r (n)")
        assert (
            "key_id=of the profile"
            in con.execute("SELECT secret_string FROM duckdb_secrets()").fetchall()[0][0]
        )
    with Warehouse(home).read() as con:
        assert con.execute("SELECT count(*) FROM numbers").fetchall() == [(100,)]
    assert store.names(bucket)
