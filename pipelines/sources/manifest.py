"""Control totals beside a delivery: how many rows each file has, and what its whole numbers add up
to.

What belongs here: reading `_manifest.json` and comparing it with what was read. A file that was cut
at the end of a row looks whole; only who wrote it knows that it is not.

    {"files": {"all.csv": {"rows": 40, "amount_micros": 9004677000}}}
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.schema import Table
from pipelines.sources.errors import SourceError
from pipelines.sources.records import Delivery
from pipelines.store.warehouse import Connection

NAME = "_manifest.json"


def check_totals(
    con: Connection, table: Table, folder: Path, deliveries: Sequence[Delivery]
) -> None:
    """Compare the stage with the manifest of the day's folder, if there is one.

    Rows are all rows read, good and bad. A sum that differs stops nothing where a value of the
    column cannot be read: those rows are in quarantine, and hold the difference.

    Raises
    ------
    SourceError
        The manifest cannot be read, names a file that is not there, or a total differs.
    """
    path = folder / NAME
    if not path.is_file():
        return
    files = _files(path, table)
    there = {delivery.path.name: delivery for delivery in deliveries}
    if missing := sorted(files.keys() - there.keys()):
        raise SourceError(
            f"{path}: names {', '.join(missing)}, which is not there. Deliver it, or correct the"
            " manifest"
        )
    for name, totals in files.items():
        for what, expected in totals.items():
            manifest, unreadable = con.execute(
                "SELECT count(*), 0 FROM stage WHERE file = $file"
                if what == "rows"
                else f"SELECT coalesce(sum({what}), 0)::HUGEINT, count(*) FILTER ({what} IS NULL)"
                " FROM stage WHERE file = $file",
                {"file": there[name].name},
            ).fetchall()[0]
            if manifest != expected and not unreadable:
                raise SourceError(
                    f"{there[name].path}: {what} should be {expected} by {NAME}, and is {manifest}."
                    " Deliver the file again, or correct the manifest"
                )


def _files(path: Path, table: Table) -> dict[str, dict[str, int]]:
    try:
        manifest: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    files = manifest.get("files") if isinstance(manifest, dict) else None
    known = {"rows", *(c.name for c in table.landing_columns if c.type == "BIGINT")}
    if not isinstance(files, dict) or not all(
        isinstance(totals, dict) for totals in files.values()
    ):
        raise SourceError(
            f'{path}: not of the form {{"files": {{"all.csv": {{"rows": 40}}}}}}; docs/data.md'
        )
    for name, totals in files.items():
        for what, value in totals.items():
            if what not in known or not isinstance(value, int) or isinstance(value, bool):
                raise SourceError(
                    f"{path}: {name}: {what} = {value!r}; totals are whole numbers for"
                    f" {', '.join(sorted(known))}"
                )
    return files
