"""Rules over groups as an analyst writes them: kept to the micro, left alone where they mean
nothing, refused where they conflict.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ads.assets import split_pool
from pipelines.ads.rules import CAP, FLOOR
from pipelines.policy import AdRule, Ads, Policy, PolicyError, read_policy
from solvers import InfeasibleError

HEAD = 'name = "p"\neffective_from = 2020-01-01\n[ads]\n'


def units(
    views: list[float],
    followers: list[int] | None = None,
    creators: list[str] | None = None,
    labels: Any = None,
) -> pa.Table:
    n = len(views)
    creators = creators or [f"c{i}" for i in range(n)]
    return pa.table(
        {
            "video_id": [f"v{i:03}" for i in range(n)],
            "creator_id": creators,
            "unit_id": [f"v{i:03}" for i in range(n)],
            "effective_views": pa.array(views, pa.float64()),
            "followers": pa.array(followers or [0] * n, pa.int64()),
            "labels": pa.array(labels or [[] for _ in views], pa.list_(pa.string())),
        }
    )


def test_the_small_get_their_part_and_the_multiplier_says_what_it_costs() -> None:
    table = units([1, 4, 16], followers=[10, 500, 9000])
    rule = AdRule(name="small", followers_below=100, minimum=0.25)
    plain, ruled = (split_pool(table, 1_000_003, 0, Ads(rules=rules)) for rules in ((), (rule,)))
    assert plain.rules == []
    [outcome] = ruled.rules
    assert outcome["minimum_micros"] == outcome["paid_micros"] == 250_001  # a quarter, rounded up
    assert outcome["members"] == 1
    assert outcome["multiplier"] < 0
    assert sum(ruled.rows["payout_micros"].to_pylist()) == 1_000_003
    assert ruled.solution["solver"] == "dual"
    assert ruled.solution["gap"] < 1e-9
    # the others share the rest in the proportion in which they would share all of it
    a, b = ruled.rows["payout_micros"].to_pylist()[1:]
    c, d = plain.rows["payout_micros"].to_pylist()[1:]
    assert a / b == pytest.approx(c / d, abs=1e-5)


def test_nobody_over_a_part_of_the_pool() -> None:
    table = units([1, 2, 3, 50], creators=["a", "b", "c", "c"])
    by_unit = split_pool(
        table,
        1000,
        0,
        Ads(rules=(AdRule(name="unit", each="unit", maximum=0.4),), fairness_unit="video"),
    )
    assert max(by_unit.rows["payout_micros"].to_pylist()) == 400
    by_creator = split_pool(
        table,
        1000,
        0,
        Ads(rules=(AdRule(name="creator", each="creator", maximum=0.5),), fairness_unit="video"),
    )
    assert sum(by_creator.rows["payout_micros"].to_pylist()[2:]) == 500
    assert by_creator.rules[0]["paid_micros"] == 500


def test_videos_that_carry_another_label() -> None:
    table = units([1, 1, 1, 7], labels=[["music"], ["music"], ["music"], ["music", "news"]])
    rule = AdRule(name="news", label="news", maximum=0.1, pools=("music",))
    ads = Ads(rules=(rule,), fairness_unit="video")
    assert split_pool(table, 1000, 0, ads, "music").rows["payout_micros"].to_pylist() == [
        300,
        300,
        300,
        100,
    ]
    elsewhere = split_pool(table, 1000, 0, ads, "sport")
    assert elsewhere.rules == []
    assert elsewhere.rows["payout_micros"].to_pylist()[3] > 400


def test_rules_that_mean_nothing_in_a_pool_are_left_alone_and_say_so() -> None:
    table = units([1, 2], followers=[1000, 2000])
    rules = (
        AdRule(name="small", followers_below=10, minimum=0.2),
        AdRule(name="nobody", each="unit", maximum=0.03, least_units=34),
    )
    split = split_pool(table, 1000, 0, Ads(rules=rules))
    assert [r["note"] for r in split.rules] == [
        "left alone: nobody is in the group",
        "left alone: 2 units, it asks for 34",
    ]
    assert split.solution["solver"] == "closed form"
    assert split_pool(
        table, 0, 0, Ads(rules=(AdRule(name="big", followers_from=10, minimum=0.2),))
    ).rules[0]["note"]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("minimum = 0.2", "say whom it is about"),
        ('followers_below = 10\neach = "unit"\nmaximum = 0.2', "say whom it is about"),
        ("followers_below = 10", "say what it asks for"),
        ('each = "unit"\nminimum = 0.1', "each takes a maximum only"),
        (
            "followers_below = 10\nminimum = 0.5\nmaximum = 0.2",
            "minimum = 0.5 is above maximum = 0.2",
        ),
        ('label = "news"\nmaximum = 0.2', "about videos .label., but fairness_unit = creator"),
        ("followers_under = 10\nminimum = 0.5", "unknown key"),
        (
            "followers_below = 10\nminimum = 20",
            r"minimum: .* equal to 1 \(it is 20\): it is a part of one, so 20 % is 0.2",
        ),
        ("followers_below = 10\nminimum = 1", "minimum = 1 leaves nothing to anybody else"),
        ('followers_below = 10\nminimum = "20 %"', "minimum: .* valid number"),
        (
            (
                'followers_below = 10\nminimum = 0.5\n[[ads.rules]]\nname = "r"\nfollowers_from ='
                " 10\nminimum = 0.1"
            ),
            "two rules have the same name",
        ),
    ],
)
def test_rules_that_say_nothing_sensible_are_refused_when_the_policy_is_read(
    tmp_path: Path, toml: str, message: str
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(f'{HEAD}[[ads.rules]]\nname = "r"\n{toml}\n')
    with pytest.raises(PolicyError, match=message):
        read_policy(path)


def test_a_conflict_names_the_rules_and_their_numbers(tmp_path: Path) -> None:
    """Each rule alone makes sense; together they leave 90 % for what may get 60 %."""
    path = tmp_path / "p.toml"
    path.write_text(
        HEAD
        + '[[ads.rules]]\nname = "the small"\nfollowers_below = 1000\nminimum = 0.7\n'
        + '[[ads.rules]]\nname = "the stars"\nfollowers_from = 100000\nminimum = 0.35\n'
        + '[[ads.rules]]\nname = "harmless"\nfollowers_from = 1000\nmaximum = 0.9\n'
    )
    table = units([1, 2, 3], followers=[10, 5000, 200_000])
    with pytest.raises(InfeasibleError) as error:
        split_pool(table, 1_000_000, 0, read_policy(path).ads)
    assert "the small" in str(error.value)
    assert "the stars" in str(error.value)
    assert "harmless" not in str(error.value)


def test_a_minimum_above_what_the_caps_leave_names_both(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    small, each = (
        'name = "small"\nfollowers_below = 100\nminimum = 0.9',
        'name = "each"\neach = "unit"\nmaximum = 0.3',
    )
    path.write_text(f"{HEAD}[[ads.rules]]\n{small}\n[[ads.rules]]\n{each}\n")
    with pytest.raises(
        InfeasibleError,
        match=r"'small': at least 0.9 .*'each': each unit at most 0.3 .* so 'small' at most 600000",
    ):
        split_pool(
            units([1, 4, 16, 5], followers=[10, 500, 9000, 70]), 1_000_000, 0, read_policy(path).ads
        )


@given(
    views=st.lists(st.floats(0.01, 1e4), min_size=3, max_size=30),
    pool=st.integers(1, 10**9),
    small=st.floats(0, 0.9),
    large=st.floats(0.1, 1),
    seed=st.integers(0, 99),
)
def test_whole_micros_keep_every_rule_and_sum_to_the_pool(
    views: list[float], pool: int, small: float, large: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    followers = rng.integers(0, 2000, len(views)).tolist()
    rules = (
        AdRule(name="small", followers_below=1000, minimum=round(small, 3)),
        AdRule(name="each", each="unit", maximum=round(large, 3)),
    )
    try:
        split = split_pool(units(views, followers), pool, 0, Ads(rules=rules))
    except InfeasibleError:
        return
    paid = split.rows["payout_micros"].to_pylist()
    assert sum(paid) == pool
    for outcome in split.rules:
        assert outcome["note"] or (outcome["minimum_micros"] or 0) <= outcome["paid_micros"] <= (
            outcome["maximum_micros"] or pool
        )
    assert split.solution["gap"] <= 1e-9


def test_a_policy_with_rules_survives_being_kept_as_json() -> None:
    policy = Policy.model_validate_json(
        '{"name": "p", "effective_from": "2020-01-01", "ads": {"rules": [{"name": "r", "each":'
        ' "unit", "maximum": 0.5}]}}'
    )
    again = Policy.model_validate_json(policy.content)
    assert again.hash == policy.hash != Policy(name="p", effective_from=policy.effective_from).hash


PARTS = st.integers(1, 19).map(lambda n: n / 20)


@st.composite
def some_rules(draw: st.DrawFn) -> tuple[AdRule, ...]:
    """Rules of which each makes sense alone."""
    found = []
    if draw(st.booleans()):
        low, high = sorted((draw(PARTS), draw(PARTS)))
        found.append(AdRule(name="small", followers_below=1000, minimum=low, maximum=high))
    if draw(st.booleans()):
        found.append(AdRule(name="large", followers_from=500, minimum=draw(PARTS) / 2))
    each = draw(st.sets(st.sampled_from(["unit", "creator"])))
    found.extend(AdRule(name=name, each=name, maximum=draw(PARTS)) for name in sorted(each))
    return tuple(found)


@settings(max_examples=40, deadline=None)
@given(
    views=st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any),
    pool=st.integers(0, 80),
    floor=st.integers(0, 12),
    part=PARTS,
    rules=some_rules(),
    seed=st.integers(0, 99),
)
def test_a_tiny_pool_never_stops_a_day(
    views: list[int], pool: int, floor: int, part: float, rules: tuple[AdRule, ...], seed: int
) -> None:
    """Whatever so few micros or so few units cannot keep is left alone and says so, and all else is
    kept. Only rules that contradict each other in a pool of any size are refused.
    """
    rng = np.random.default_rng(seed)
    table = units([float(view) for view in views], rng.integers(0, 2000, len(views)).tolist())
    ads = Ads(rules=rules, floor_micros=floor, cap_fraction=part)
    try:
        split = split_pool(table, pool, 0, ads)
    except InfeasibleError:
        with pytest.raises(InfeasibleError):
            split_pool(table, 10**15, 0, Ads(rules=rules))
        return
    paid = split.rows["payout_micros"].to_pylist()
    assert sum(paid) == pool
    assert min(paid) >= split.solution["floor_micros"]
    assert max(paid) <= split.solution["cap_micros"]
    notes = {outcome["rule"]: outcome["note"] for outcome in split.rules}
    assert {rule.name for rule in rules} <= notes.keys()
    assert split.solution["floor_micros"] == (0 if notes.get(FLOOR) else floor)
    for outcome in split.rules:
        assert outcome["note"] or (outcome["minimum_micros"] or 0) <= outcome["paid_micros"] <= (
            outcome["maximum_micros"] if outcome["maximum_micros"] is not None else pool
        )


def test_the_documents_own_rule_in_a_pool_of_sixty_micros() -> None:
    """Each creator at most 3 %: of 60 micros that is one, and 40 creators cannot take 60."""
    split = split_pool(
        units([1.0] * 40), 60, 0, Ads(rules=(AdRule(name="3 %", each="creator", maximum=0.03),))
    )
    assert sum(split.rows["payout_micros"].to_pylist()) == 60
    assert split.rules[0]["note"].startswith("left alone: ")
    assert split.rules[0]["maximum_micros"] == 1


def test_a_pool_of_one_micro_with_a_minimum() -> None:
    rule = AdRule(name="small", followers_below=10, minimum=0.2)
    split = split_pool(units([3.0, 1.0], followers=[1, 100]), 1, 0, Ads(rules=(rule,)))
    assert split.rows["payout_micros"].to_pylist() == [1, 0]
    assert "nobody else" in split.rules[0]["note"]


def test_floors_and_caps_that_a_pool_cannot_keep_are_left_alone_by_name() -> None:
    split = split_pool(units([3.0, 1.0]), 10, 0, Ads(floor_micros=6, cap_fraction=0.4))
    assert sum(split.rows["payout_micros"].to_pylist()) == 10
    assert {outcome["rule"]: outcome["note"] for outcome in split.rules} == {
        CAP: "left alone: 2 units of at most 4 micros are less than the pool of 10",
        FLOOR: "left alone: 2 units of at least 6 micros are more than the pool of 10",
    }
