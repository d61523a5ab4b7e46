"""Ids, names and reasons are any text. None of it is obeyed: not by a terminal, a browser or a
spreadsheet, and no command ends because of it.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import date, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pipelines.cli.main import main
from pipelines.console import Console, Table, print_error, print_text, styled
from pipelines.lab.report import Report
from pipelines.plain import markdown_table, visible
from tests.conftest import DAY, Platform, Rows

PIPELINES = Path(__file__).parents[2] / "pipelines"
CREATORS = ("[/red] shop", "c:x:1", "=1+2", "a|b`c`", "<b>ann</b>", "[bold]ann")
LABEL = "<img src=x>|**music** <https://a.b>"
OBEYED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


def _sources() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PIPELINES.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def _ours(argument: ast.expr) -> bool:
    """Whether it is a sentence of our own, or one of two."""
    if isinstance(argument, ast.IfExp):
        return _ours(argument.body) and _ours(argument.orelse)
    return isinstance(argument, ast.Constant)


def test_nothing_prints_another_way() -> None:
    """Only `console` knows rich and click's echo; a page is made of `markdown_table` and `picture`,
    a CSV file by the studies' report.
    """
    found = []
    for path, tree in _sources():
        name = path.relative_to(PIPELINES).as_posix()
        for node in ast.walk(tree):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            constant = isinstance(node, ast.Call) and all(_ours(a) for a in node.args)
            modules = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            wrong = (
                (any(m.split(".")[0] == "rich" for m in modules) and name != "console.py")
                or called in ("print", "click.secho", "click.style", "click.ClickException")
                or (called in ("click.echo", "click.confirm", "click.prompt")
                    and not constant and name != "console.py")
                or (called.endswith("MetadataValue.md") and path.name != "pictures.py"
                    and "markdown_table(" not in ast.unparse(node) and "_certificates(" not in ast.unparse(node))
                or (called in ("csv.writer", "csv.DictWriter") and "csv_cell" not in path.read_text())
                or (called.startswith(("sys.stdout.", "sys.stderr.")) and not called.endswith("isatty"))
            )  # fmt: skip
            if wrong:
                found.append(f"{name}:{getattr(node, 'lineno', '?')}: {ast.unparse(node)[:80]}")
    assert found == []


@given(TEXT)
def test_a_terminal_shows_a_text_and_obeys_nothing(text: str) -> None:
    console = Console()
    table = Table("id", "state")
    table.add_row(text, styled(text, "green"))
    for printed in (table, text, styled(text, "dim")):
        with console.capture() as capture:
            console.print(printed)
        assert not OBEYED.search(capture.get()), capture.get()
    assert not OBEYED.search(visible(text))


@pytest.mark.parametrize("text", [*CREATORS, LABEL, "\x1b]0;t\x07", "a\rb", "\u202etxt", ":smile:"])
def test_every_way_to_print_shows_it_as_it_stands(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console()
    table = Table("id", title=text)
    table.add_row(text)
    console.print(table)
    console.print(text, styled(text, "red"))
    print_text(text)
    print_error(text)
    out, err = capsys.readouterr()
    assert out.count(visible(text)) == 5
    assert err == f"error: {visible(text)}\n"


def test_a_second_line_of_an_error_is_no_message_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_error("creator 'x\nerror: all money lost'")
    assert capsys.readouterr().err.splitlines()[1].startswith("  ")


@given(TEXT, TEXT)
def test_markdown_shows_a_cell_as_it_stands(text: str, other: str) -> None:
    class Cells(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: set[str] = set()
            self.cells: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.tags.add(tag)
            if tag in ("td", "th"):
                self.cells.append("")

        def handle_data(self, data: str) -> None:
            if self.cells:
                self.cells[-1] += data

    page = MarkdownIt("gfm-like", {"linkify": False}).render(
        "\n".join(markdown_table((text, "second"), [(other, text), ("a", "b")]))
    )
    cells = Cells()
    cells.feed(page)
    assert cells.tags <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    shown = [" ".join(cell.split()) for cell in cells.cells]
    expected = [" ".join(visible(t).split()) for t in (text, "second", other, text, "a", "b")]
    assert shown == expected


def test_a_study_writes_no_formula_and_no_markup(tmp_path: Path) -> None:
    report = Report(tmp_path, "A study")
    report.table("found", ("creator", "x"), [(c, -1.5) for c in (*CREATORS, "-3", "@f")], "Found")
    report.write()
    with (tmp_path / "found.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))[1:]
    assert [row[0] for row in rows] == [
        f"'{c}" if c in ("=1+2", "@f") else c for c in (*CREATORS, "-3", "@f")
    ]
    assert {row[1] for row in rows} == {"-1.5"}
    page = (tmp_path / "report.html").read_text()
    assert "<b>" not in page
    assert page.count("<tr>") == len(rows) + 1


@pytest.fixture(scope="module")
def hostile(
    tmp_path_factory: pytest.TempPathFactory, platform_at: Callable[[Path], Platform]
) -> tuple[Platform, Result]:
    """A day of creators, videos, labels, viewers and gifts with such names, and the run of it."""
    platform = platform_at(tmp_path_factory.mktemp("hostile") / "home")
    platform.settings(first_day=DAY, last_day=DAY)
    viewers = [f"{c} viewer" for c in CREATORS]
    videos = {f"{c} video": c for c in CREATORS}
    platform.land("viewers", [Rows.viewer(v) for v in viewers])
    platform.land("creators", [Rows.creator(c) for c in CREATORS])
    platform.land(
        "videos",
        [Rows.video(v, creator_id=c, categories=[LABEL]) for v, c in videos.items()],
        form="parquet",
    )
    events = [
        (viewer, video, datetime(DAY.year, DAY.month, DAY.day, hour))
        for video in videos
        for viewer in viewers
        for hour in (9, 18)
    ]
    platform.land(
        "viewer_events",
        [Rows.event(f"[/]{n}", viewer_id=u, video_id=v, ts=ts, watch_ms=20_000, commented=True, shared=True, followed=True)
         for n, (u, v, ts) in enumerate(events)]
        + [Rows.event("[/bad]", viewer_id="[/u]", video_id="[/nowhere]")],
        name="[bold]file",
    )  # fmt: skip
    platform.land("ad_revenue", [Rows.ad("[/]a", category=LABEL)])
    platform.land("gifts", [Rows.gift(f"[/]{v}", video_id=v, viewer_id=viewers[0]) for v in videos])
    (platform.home.landing / "[red]unread").mkdir()
    (platform.home.root / "policies").mkdir()
    for name in ("evidence", "printed"):
        shipped = PIPELINES.parent / "assets_data" / "policies" / f"{name}.toml"
        (platform.home.root / "policies" / f"{name}.toml").write_text(
            re.sub(
                "(?m)^description = .*$",
                'description = "[/red] \\\\u001b[31m"',
                shipped.read_text(encoding="utf-8"),
                count=1,
            ),
            encoding="utf-8",
        )
    return platform, _earnings(platform, "run")


def _earnings(platform: Platform, *words: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:  # the command sets it for what it starts
        patch.setenv("EARNINGS_HOME", str(platform.home.root))
        patch.setenv("EARNINGS_POLICY", "evidence")
        return CliRunner().invoke(main, ["--home", str(platform.home.root), *words])


def _shown(result: Result, code: int = 0) -> str:
    print(result.output)
    assert result.exit_code == code
    assert not OBEYED.search(result.output)
    assert not any(unicodedata.category(c) == "So" for c in result.output), "an emoji"
    return result.output


def test_a_run_and_its_status_show_such_names(hostile: tuple[Platform, Result]) -> None:
    platform, run = hostile
    shown = _shown(run)
    for creator in CREATORS:
        assert re.search(rf"^{re.escape(creator)} +[\d.]+", shown, re.MULTILINE), creator
    assert "[red]unread belongs to no table" in _shown(_earnings(platform, "status"))
    assert "[bold]file.csv" in _shown(_earnings(platform, "status", "--quarantine"))


def test_every_command_shows_such_names(hostile: tuple[Platform, Result], tmp_path: Path) -> None:
    platform, _ = hostile
    day, video = str(DAY), "[/red] shop video"
    for words, expected in (
        (("query", "SELECT DISTINCT creator_id FROM creator_earnings"), CREATORS),
        (("query", "SELECT chr(27) || '[31m' || chr(10) || 'x' AS \"[/red]\""), (r"\x1b[31m\nx",)),
        (("explain", CREATORS[0], "--day", day), (CREATORS[0], video)),
        (("explain", video, "--day", day), (video, LABEL)),
        (("statement", CREATORS[4], "--month", "2026-03"), (CREATORS[4],)),
        (("policy",), (r"[/red] \x1b[31m",)),
        (("ledger", "verify"), ("nothing contradicts",)),
        (("prune",), ("would delete",)),
        (("schema",), ("creator_id",)),
    ):
        shown = _shown(_earnings(platform, *words))
        for name in expected:
            assert name in shown, words
    for words in (
        ("query", 'FROM "[/red]"'),
        ("explain", "[/nobody]\x1b[31m", "--day", day),
        ("statement", "[/nobody]\x1b[31m", "--month", "2026-03"),
        ("run", "--asset", "[/red]\x1b[31m"),
        ("ledger", "verify", "--head", "[/red]\x1b[31m"),
    ):
        _shown(_earnings(platform, *words), 1)
    page = tmp_path / "statement.html"
    _shown(_earnings(platform, "statement", CREATORS[4], "--month", "2026-03", "--html", str(page)))
    html = page.read_text(encoding="utf-8")
    assert "&lt;b&gt;ann&lt;/b&gt;" in html
    assert "<b>ann" not in html
    for words in (("query", "SELECT chr(27) AS x"), ("explain", video, "--day", day)):
        json.loads(_shown(_earnings(platform, *words, "--json")))


def test_a_page_of_the_web_ui_shows_such_names(hostile: tuple[Platform, Result]) -> None:
    import dagster as dg

    platform, _ = hostile
    pages = {}
    with dg.DagsterInstance.from_config(str(platform.home.dagster)) as instance:
        for record in instance.fetch_materializations(dg.AssetKey("ad_payouts"), limit=5).records:
            assert record.asset_materialization
            for name, value in record.asset_materialization.metadata.items():
                if isinstance(value, dg.MarkdownMetadataValue):
                    pages[name] = str(value.value)
    assert pages
    for page in pages.values():
        html = MarkdownIt("gfm-like", {"linkify": False}).render(page)
        assert "<a " not in html
        assert "<img" not in html
        assert "<code>&lt;img src=x&gt;|**music** &lt;https://a.b&gt;</code>" in html


def test_a_closing_and_a_restatement_show_such_names(hostile: tuple[Platform, Result]) -> None:
    platform, _ = hostile
    platform.settings(first_day=DAY, last_day=date(2026, 3, 6))
    _shown(_earnings(platform, "close", "--through", str(DAY), "--yes"))
    shown = _shown(
        CliRunner().invoke(
            main,
            ["--home", str(platform.home.root), "--policy", "printed", "restate", "--day", str(DAY),
             "--reason", "[/red]\x1b[31m because"],
            input="n\n",
            env={"EARNINGS_HOME": str(platform.home.root), "EARNINGS_POLICY": "printed"},
        ),
        1,
    )  # fmt: skip
    assert r"[/red]\x1b[31m because" in shown
