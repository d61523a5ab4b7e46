"""Goes through seeds, a platform each, and shrinks the story of one that fails.

python -m tests.soak.search 1-40        # or: make soak SEEDS=1-40
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

from pipelines.errors import ExpectedError
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from solvers import InfeasibleError
from tests.ledger.test_faults import Watched, in_child
from tests.soak.platform import KINDS, OPERATORS, Kind, Platform, Step, draw

IN_ONE_TRANSACTION = ("close", "restate", "recommit", "remarket", "accept", "pay", "answer")
"""Steps that are done when the ledger has a new head: nobody does them again."""


class Died(BaseException):
    """The process is gone: no handler of errors sees it."""


@dataclass(frozen=True)
class Outcome:
    """What became of a seed: the days that were made, once or again, and what went wrong."""

    seed: int
    days: int
    seconds: float
    failure: str = ""
    story: tuple[Step, ...] = ()


def play(kind: Kind, story: Iterable[Step], folder: Path) -> int:
    """Live through a story and check it after every step; returns how many days were made in it.

    Raises
    ------
    AssertionError
        Something that must hold does not; the message begins with the step.
    """
    shutil.rmtree(folder, ignore_errors=True)
    platform = Platform.begin(folder / "home", kind)
    for n, step in enumerate(story):
        try:
            _live(platform, step, folder)
            if step.name in (*OPERATORS, "half"):
                platform.check()
        except Exception as error:
            raise AssertionError(f"step {n}, {step}: {type(error).__name__}: {error}") from error
    platform.end(folder / "scratch")
    return platform.made


def _live(platform: Platform, step: Step, folder: Path) -> None:
    action = platform.prepare(step)
    if not step.trouble:
        _do(action)
        return
    quiet = _twin(platform, folder / "quiet")
    _do(quiet.prepare(step))
    before = platform.head()
    TROUBLES[step.trouble](platform, action, step.at, folder)
    done = step.name in IN_ONE_TRANSACTION and platform.head() != before
    if not done and step.trouble != "two":
        platform.check()
        _do(action)
    platform.made += quiet.made
    assert platform.head() == quiet.head(), "another head than that of the quiet run"


def _do(action: Callable[[], object]) -> None:
    """What a step may refuse, it may refuse: then nothing was changed, as the checks will see."""
    with suppress(ExpectedError, InfeasibleError):
        action()


def _twin(platform: Platform, root: Path) -> Platform:
    """The same platform elsewhere, with files that are as new or old as they were."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(platform.home.root, root)
    return replace(
        platform,
        home=Home.at(root),
        made=0,
        good={},
        known=deepcopy(platform.known),
        delivered=list(platform.delivered),
    )


def _killed(platform: Platform, action: Callable[[], object], at: int, folder: Path) -> None:
    """The files are left as they are at a write, which is what a process leaves that is killed."""
    left, store = at, folder / "killed"
    home = platform.home
    files = [home.warehouse, home.warehouse.with_name(home.warehouse.name + ".wal")]

    def tick() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            shutil.rmtree(store, ignore_errors=True)
            store.mkdir()
            for path in files:
                if path.exists():
                    shutil.copyfile(path, store / path.name)
            raise Died

    connect = Warehouse._connect

    def watched(house: Warehouse, *how: object) -> Watched:
        return Watched(connect(house, *how), tick)  # type: ignore[arg-type]

    with mock.patch.object(Warehouse, "_connect", watched):
        try:
            _do(action)
        except Died:
            for path in files:
                path.unlink(missing_ok=True)
                if (store / path.name).exists():
                    shutil.copyfile(store / path.name, path)


def _full(platform: Platform, action: Callable[[], object], at: int, folder: Path) -> None:
    path = platform.home.warehouse
    limit = (path.stat().st_size if path.exists() else 0) + at * 1000

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        _do(action)

    code = in_child(work)
    assert code == 0, f"a full disk ends the process with {code}"


def _twice(platform: Platform, action: Callable[[], object], at: int, folder: Path) -> None:
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _do(action)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0], f"of two at once: {codes}"


TROUBLES = {"kill": _killed, "disk": _full, "two": _twice}


def shrink(
    kind: Kind, story: Sequence[Step], folder: Path, *, seconds: float = 300
) -> tuple[Step, ...]:
    """A shorter story that fails too: parts are left out, halves first, as long as there is time
    (delta debugging).
    """
    left, parts, until = list(story), 2, time.monotonic() + seconds
    while len(left) > 1 and time.monotonic() < until:
        size = max(1, len(left) // parts)
        for begin in range(0, len(left), size):
            shorter = left[:begin] + left[begin + size :]
            if time.monotonic() < until and _fails(kind, shorter, folder):
                left, parts = shorter, max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(left))
    return tuple(left)


def _fails(kind: Kind, story: Sequence[Step], folder: Path) -> bool:
    try:
        play(kind, story, folder)
    except Exception:
        return True
    return False


def kind_of(seed: int) -> Kind:
    return KINDS[seed % len(KINDS)]


def try_seed(seed: int, *, shrinking: float = 300) -> Outcome:
    """Live through the story of a seed."""
    kind, began = kind_of(seed), time.monotonic()
    story = draw(kind, seed)
    with tempfile.TemporaryDirectory(prefix="soak-", dir=_memory()) as folder:
        try:
            days = play(kind, story, Path(folder) / "it")
        except Exception as error:
            why = "".join(traceback.format_exception(error))
            shorter = shrink(kind, story, Path(folder) / "less", seconds=shrinking)
            return Outcome(seed, 0, time.monotonic() - began, why, shorter)
    return Outcome(seed, days, time.monotonic() - began)


def _memory() -> Path | None:
    """A file system in memory, where there is one: what a power cut does is not what is tried."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and os.access(memory, os.W_OK) else None


def _begin() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("seeds", nargs="*", default=["1-40"], help="numbers, and ranges like 1-40")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--shrink", type=float, default=300, help="seconds for a failing story")
    chosen = parser.parse_args(arguments)
    seeds: list[int] = []
    for text in chosen.seeds:
        first, _, last = text.partition("-")
        seeds += range(int(first), int(last or first) + 1)
    began, days, failed = time.monotonic(), 0, 0
    with ProcessPoolExecutor(chosen.processes, get_context("spawn"), _begin) as pool:
        waiting = [pool.submit(try_seed, seed, shrinking=chosen.shrink) for seed in seeds]
        for done in as_completed(waiting):
            outcome = done.result()
            days += outcome.days
            kind = kind_of(outcome.seed)
            what = "FAILED" if outcome.failure else f"{outcome.days} days"
            print(
                f"seed {outcome.seed}: {kind.policy}, {what}, {outcome.seconds:.0f} s", flush=True
            )
            if outcome.failure:
                failed += 1
                story = ",\n    ".join(map(repr, outcome.story))
                print(f"{outcome.failure}\nstory = [\n    {story},\n]", flush=True)
    print(f"{days} platform-days, {len(seeds)} seeds, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
