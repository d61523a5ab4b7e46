"""Policies: what ships is what the documents say; what is wrong is refused by file, key and reason;
the hash tells amounts apart.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterator
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.policy import (
    Ads,
    Bonus,
    Coins,
    Epochs,
    Market,
    Policy,
    PolicyBook,
    PolicyError,
    exact,
    read_policy,
)
from pipelines.settings import PROJECT

SHIPPED = PROJECT / "assets_data" / "policies"
HEAD = 'name = "mine"\neffective_from = 2026-01-01\n'

# What the documents print (the two documents), by section and key.
PRINTED: dict[str, dict[str, Any]] = {
    "quality": {
        "window_days": 1,
        "trust_verified": 1.0,
        "trust_unverified": 0.8,
        "toxicity_penalty": 0.5,
    },
    "quality.action_weights": {"like": 0.1, "comment": 0.2, "share": 0.4, "follow": 0.3},
    "quality.exponents": {
        "watch": 0.35,
        "engagement": 0.25,
        "diversity": 0.15,
        "rewatch": 0.10,
        "safety": 0.15,
    },
    "pulse": {"top_fraction": 0.04, "creator_share": 0.5},
    "ads": {
        **{
            "alpha": 0.5,
            "lambda_fair": 0.5,
            "lambda_eff": 0.5,
            "platform_share": 0.55,
            "platform_share_by_category": {},
        },
        **{
            "floor_micros": 0,
            "cap_micros": None,
            "cap_fraction": 1.0,
            "empty_pool": "carry",
            "zero_quality": "carry",
        },
    },
    "coins": {
        **{
            "coin_micros": 10_000,
            "normal_max": 0.6,
            "premium_max": 0.8,
            "min_gap": 0.05,
            "max_gap": 0.4,
            "theta": 0.5,
        },
        **{
            "lambda_rev": 0.4,
            "lambda_util": 0.4,
            "lambda_inc": 0.2,
            "epsilon": 1.0,
            "utility": "log",
            "revenue_floor": 0.1,
        },
    },
    "epochs": {"mechanism": "none", "clip": (0.2, 5.0)},
}
# The knobs the documents do not have (docs/formulas.md sections 1 and 2): neutral in `printed`, set
# in `hardened`.
KNOBS: dict[str, dict[str, dict[str, Any]]] = {
    "printed": {
        "quality": {"prior_mass": 0.0, "unverified_cap": math.inf},
        "views": {"count": "heads", "min_watch_seconds": 0.0, "min_watch_fraction": 0.0},
        "ads": {"objective": "linear", "fairness_unit": "video"},
    },
    "hardened": {
        "quality": {"prior_mass": 20.0, "unverified_cap": 1.5, "unverified_allowance": 2.0},
        "views": {"count": "trust", "min_watch_seconds": 2.0, "min_watch_fraction": 0.1},
        "ads": {"objective": "blend", "fairness_unit": "creator"},
    },
}

# The policy that pays by default, as it was released.
EVIDENCE = "7f8583018d881c65"


def write(folder: Path, text: str, name: str = "policy.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def section(policy: Policy, path: str) -> dict[str, Any]:
    found = policy.model_dump()
    for part in path.split("."):
        found = found[part]
    return found


def leaves(
    found: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every parameter of a dumped policy, by its path."""
    for name, value in found.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


@pytest.mark.parametrize("name", ["printed", "hardened"])
def test_what_ships_is_what_the_documents_say(name):
    policy = read_policy(SHIPPED / f"{name}.toml")
    assert policy.name == name
    for sections in (PRINTED, KNOBS[name]):
        for path, expected in sections.items():
            found = section(policy, path)
            assert {key: found[key] for key in expected} == expected, path


@pytest.mark.parametrize("name", ["printed", "hardened", "evidence"])
def test_what_ships_says_every_parameter(name):
    """A reader of the file sees every number; nothing hides in a default of the code. There are no
    rules over groups.
    """
    written = {path for path, _ in leaves(tomllib.loads((SHIPPED / f"{name}.toml").read_text()))}
    unset = {
        path
        for path, value in leaves(read_policy(SHIPPED / f"{name}.toml").model_dump())
        if value is None
    }
    every = {
        path for path, _ in leaves(Policy(name="x", effective_from=date(2026, 1, 1)).model_dump())
    } - {("ads", "rules")}
    assert every - unset == written


def test_the_two_that_ship_differ_only_in_the_knobs():
    found = [
        dict(leaves(read_policy(SHIPPED / f"{name}.toml").model_dump()))
        for name in ("printed", "hardened")
    ]
    different = {".".join(path) for path in found[0] if found[0][path] != found[1][path]} - {
        "name",
        "description",
    }
    assert different == {
        *(
            "quality.prior_mass",
            "epochs.percentile_edge",
            "quality.unverified_cap",
            "views.count",
            "views.min_watch_seconds",
            "views.min_watch_fraction",
        ),
        *("ads.objective", "ads.fairness_unit"),
    }


WRONG = {
    "unknown key at the top": ("alfa = 1", "alfa: unknown key"),
    "unknown section": ("[add]\nalpha = 1", "add: unknown key"),
    "unknown key": ("[ads]\nalfa = 1", "ads.alfa: unknown key"),
    "unknown key two levels down": (
        "[quality.exponents]\nwach = 1",
        "quality.exponents.wach: unknown key",
    ),
    "text for a number": ('[ads]\nalpha = "much"', "ads.alpha: .*'much'"),
    "a number for a section": ("ads = 1", "ads: .*1"),
    "a number as text": ('[ads]\nalpha = "0.5"', "ads.alpha: .*'0.5'"),
    "true for a number": ("[ads]\nalpha = true", "ads.alpha: .*True"),
    "true for a count": ("[quality]\nwindow_days = true", "quality.window_days: .*True"),
    "a number for true": ("[pulse]\nalso_in_pools = 1", "pulse.also_in_pools: .*1"),
    "a whole number with a point": ("[ads]\nfloor_micros = 1.0", "ads.floor_micros: .*1.0"),
    "list for a number": ("[ads]\nalpha = [1]", "ads.alpha: "),
    "half a micro": ("[ads]\nfloor_micros = 0.5", "ads.floor_micros: .*0.5"),
    "half a day": ("[quality]\nwindow_days = 1.5", "quality.window_days: .*1.5"),
    "a share above one": ("[ads]\nplatform_share = 1.2", "ads.platform_share: .*1.2"),
    "a share below zero": ("[pulse]\ntop_fraction = -0.1", "pulse.top_fraction: .*-0.1"),
    "a category's share above one": (
        "[ads.platform_share_by_category]\nmusic = 2.0",
        "ads.platform_share_by_category.music: .*2.0",
    ),
    "alpha zero": ("[ads]\nalpha = 0", "ads.alpha: .*0"),
    "nan": ("[quality]\nprior_mass = nan", "quality.prior_mass: .*nan"),
    "nan where inf may be": ("[quality]\nunverified_cap = nan", "quality.unverified_cap: .*nan"),
    "infinite mass": ("[quality]\nprior_mass = inf", "quality.prior_mass: .*inf"),
    "weights that do not sum": (
        "[quality.action_weights]\nlike = 0.2",
        "quality.action_weights: must sum to 1, they sum to 1.1",
    ),
    "exponents that do not sum": (
        "[quality.exponents]\nwatch = 0.3",
        "quality.exponents: must sum to 1, they sum to 0.95",
    ),
    "unverified above verified": (
        "[quality]\ntrust_verified = 0.5",
        "quality: trust_unverified = 0.8 is above trust_verified = 0.5",
    ),
    "nothing to maximise": (
        "[ads]\nlambda_fair = 0\nlambda_eff = 0",
        "ads: lambda_fair and lambda_eff are both 0",
    ),
    "floor above cap": (
        "[ads]\nfloor_micros = 2\ncap_micros = 1",
        "ads: floor_micros = 2 is above cap_micros = 1",
    ),
    "gap above its cap": ("[coins]\nmin_gap = 0.5", "coins: min_gap = 0.5 is above"),
    "gap that eats the floor": (
        "[coins]\nmin_gap = 0.3\nrevenue_floor = 0.8",
        "coins: min_gap = 0.3 leaves the platform less",
    ),
    "no such objective": ('[ads]\nobjective = "fair"', "ads.objective: .*'fair'"),
    "clip without one": ("[epochs]\nclip = [2, 3]", "epochs: clip = .* must hold 1"),
    "clip at zero": ("[epochs]\nclip = [0, 3]", "epochs.clip.0: .*0"),
    "no such mechanism": ('[epochs]\nmechanism = "UIR"', "epochs.mechanism: .*'UIR'"),
    "a schedule that goes back": (
        "[epochs]\nrate_schedule = [[9, 0.5], [3, 0.1]]",
        "epochs: the epochs of rate_schedule must increase",
    ),
    "no percentile": (
        "[epochs]\npercentiles = []",
        "epochs: the weights of percentiles must increase",
    ),
    "one arm twice": (
        '[epochs.experiment]\nsalt = "a"\ncontrol = "treatment"',
        "epochs.experiment: both arms are called 'treatment'",
    ),
    "an arm of nobody": (
        '[epochs.experiment]\nsalt = "a"\nshare = 1.0',
        "epochs.experiment.share: .*1.0",
    ),
    "arms without salt": (
        "[epochs.experiment]\nshare = 0.5",
        "epochs.experiment.salt: Field required",
    ),
    "not TOML": ("[ads", "Expected ']'"),
    "a key twice": ("[ads]\nalpha = 1\nalpha = 1", "Cannot overwrite"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_refused_by_file_key_and_reason(tmp_path, text, message):
    path = write(tmp_path, HEAD + text)
    with pytest.raises(PolicyError, match=message) as error:
        read_policy(path)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("effective_from = 2026-01-01", "name: Field required"),
        ('name = "mine"', "effective_from: Field required"),
        ('name = "My Policy"\neffective_from = 2026-01-01', "name: .*My Policy"),
        ('name = "mine"\neffective_from = "soon"', "effective_from: .*soon"),
        ('name = "mine"\neffective_from = 86400', "effective_from: .*86400"),
        ("name = 7\neffective_from = 2026-01-01", "name: .*7"),
        ("", "name: Field required"),
    ],
)
def test_a_policy_says_its_name_and_date(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(PolicyError, match=message) as error:
        read_policy(path)
    assert str(path) in str(error.value)


def test_every_mistake_is_named_at_once(tmp_path):
    with pytest.raises(PolicyError) as error:
        read_policy(write(tmp_path, HEAD + "[ads]\nalfa = 1\nalpha = 7\n[coins]\ntheta = -1"))
    assert [line.split(": ")[1] for line in str(error.value).splitlines()] == [
        "ads.alpha",
        "ads.alfa",
        "coins.theta",
    ]


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "latin.toml").write_bytes(
        HEAD.encode() + 'description = "für alle"'.encode("latin-1")
    )
    for path in (tmp_path / "missing.toml", tmp_path / "latin.toml"):
        with pytest.raises(PolicyError, match=str(path)):
            read_policy(path)


# --------------------------------------------------------------------------------------------------
# Versions


def book(folder: Path, *dates: str, name: str = "mine") -> PolicyBook:
    for n, day in enumerate(dates):
        write(
            folder,
            f'name = "{name}"\neffective_from = {day}\n[ads]\nfloor_micros = {n}\n',
            f"{name}-{n}.toml",
        )
    return PolicyBook.read(folder, name)


def test_the_latest_version_that_has_begun_is_in_force(tmp_path):
    versions = book(tmp_path, "2026-03-01", "2026-01-01", "2026-02-01")
    in_force = {
        day: versions.in_force(date.fromisoformat(day)).ads.floor_micros
        for day in ("2026-01-01", "2026-01-31", "2026-02-01", "2026-03-01", "2099-01-01")
    }
    assert in_force == {
        "2026-01-01": 1,
        "2026-01-31": 1,
        "2026-02-01": 2,
        "2026-03-01": 0,
        "2099-01-01": 0,
    }


def test_a_day_before_the_first_version_is_refused(tmp_path):
    versions = book(tmp_path, "2026-02-01", "2026-01-01")
    with pytest.raises(PolicyError, match=r"'mine'.*2025-12-31.*effective_from = 2026-01-01"):
        versions.in_force(date(2025, 12, 31))


def test_two_versions_of_one_date_are_refused(tmp_path):
    with pytest.raises(
        PolicyError,
        match=(
            r"mine-0\.toml, .*mine-2\.toml: two versions of 'mine' with effective_from = 2026-01-01"
        ),
    ):
        book(tmp_path, "2026-01-01", "2026-02-01", "2026-01-01")


def test_other_policies_may_share_the_date(tmp_path):
    book(tmp_path, "2026-01-01", name="other")
    assert len(book(tmp_path, "2026-01-01", "2026-02-01").versions) == 2


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(PolicyError, match="no policy is called 'mine'; there is none"):
        PolicyBook.read(tmp_path, "mine")
    book(tmp_path, "2026-01-01")
    with pytest.raises(PolicyError, match="no policy is called 'yours'; there is mine"):
        PolicyBook.read(tmp_path, "yours")


def test_a_typo_in_a_file_that_is_not_used_is_found(tmp_path):
    book(tmp_path, "2026-01-01")
    write(tmp_path, HEAD.replace("mine", "other") + "[ads]\nalfa = 1", "other.toml")
    with pytest.raises(PolicyError, match=r"other\.toml: ads\.alfa"):
        PolicyBook.read(tmp_path, "mine")


# --------------------------------------------------------------------------------------------------
# Hash


def test_the_hash_does_not_see_prose(tmp_path):
    spellings = [
        HEAD + "[ads]\nalpha = 0.5\n",
        HEAD.replace("mine", "other").replace("2026", "2027")
        + 'description = "why"\n# why\n[ads]  # ads\nalpha = 5e-1\n',
        HEAD + "",
        HEAD + "[coins]\ntheta = 0.50\n[ads]\nalpha = 0.5\n",
    ]
    assert len({read_policy(write(tmp_path, text)).hash for text in spellings}) == 1


OTHER: dict[str, Callable[[Any], Any]] = {
    "action_weights": lambda _: {"like": 0.2, "comment": 0.1, "share": 0.4, "follow": 0.3},
    "exponents": lambda _: {
        "watch": 0.25,
        "engagement": 0.35,
        "diversity": 0.15,
        "rewatch": 0.10,
        "safety": 0.15,
    },
    "platform_share_by_category": lambda _: {"music": 0.5},
    "pool_weights": lambda _: {"music": 2.0},
    "prior": lambda _: "evidence",
    "passing_cap": lambda _: 2.0,
    "account_limit": lambda _: 2.0,
    "account_bound": lambda _: 2.0,
    "reference": lambda _: {"watch": 0.4},
    "ranked_by": lambda _: "assured",
    "epsilon_of": lambda _: "video",
    "quality": lambda _: "rank",
    "count": lambda _: "trust",
    "objective": lambda _: "linear",
    "fairness_unit": lambda _: "video",
    "empty_pool": lambda _: "spread",
    "zero_quality": lambda _: "equal",
    "utility": lambda _: "linear",
    "cap_micros": lambda _: 10**6,
    "unverified_cap": lambda _: 1.5,
    "trust_unverified": lambda _: 0.7,
    "trust_verified": lambda _: 0.9,
    "window_days": lambda _: 7,
    "scope": lambda _: "platform",
    "weight": lambda _: "quality",
    "rules": lambda _: [{"name": "r", "each": "unit", "maximum": 0.5}],
}


def changed(name: str, value: Any) -> Any:
    if name in OTHER:
        return OTHER[name](value)
    if isinstance(value, bool):
        return not value
    return (
        value + 1 if isinstance(value, int) else value + 0.0625 if value < 0.9 else value - 0.0625
    )


# sections that a parameter needs to make sense
BESIDE: dict[str, Any] = {"account_bound": {"quality": {"prior": "evidence"}}}
PARAMETERS = [
    (name, key, value)
    for name, found in Policy(name="x", effective_from=date(2026, 1, 1)).model_dump().items()
    if isinstance(found, dict)
    and name not in ("epochs", "market", "bonus")  # nothing depends on them unless they are on
    for key, value in found.items()
]


@pytest.mark.parametrize(
    ("name", "key", "value"), PARAMETERS, ids=[f"{name}.{key}" for name, key, _ in PARAMETERS]
)
def test_the_hash_sees_every_parameter(name, key, value):
    x = {"name": "x", "effective_from": date(2026, 1, 1), **BESIDE.get(key, {})}
    base = Policy.model_validate(x)
    other = Policy.model_validate(x | {name: {key: changed(key, value)}})
    assert other.hash != base.hash


def test_accounts_are_bounded_only_where_it_is_known_who_is_verified():
    with pytest.raises(ValidationError, match=r"account_bound = 1 needs .* prior = .evidence"):
        Policy(name="x", effective_from=date(2026, 1, 1), ads={"account_bound": 1.0})  # type: ignore[arg-type]


EPOCHS: dict[str, Any] = {
    **{
        "mechanism": "hmt",
        "groups": 9,
        "min_group_viewers": 9,
        "refresh_days": 9,
        "seed": 9,
        "utility": "completion",
        "relative": False,
    },
    **{
        "min_impressions": 9,
        "rate": 0.9,
        "rate_schedule": ((9, 0.9),),
        "clip": (0.1, 9.0),
        "stuck_days": 9,
        "temperature": 0.9,
    },
    **{
        "top_k": 9,
        "percentiles": ((2.0, 0.9),),
        "percentile_above": 0.2,
        "percentile_edge": "below",
        "experiment": {"salt": "a"},
    },
}


MARKET: dict[str, Any] = {
    **{"window": 9, "locations": 12, "opportunity_costs": (0.2,), "deviation_costs": (2.0,)},
    "opportunity_cost": 7.0,
    **{"fallback_floor": 0.2, "floor_bounds": (0.1, 0.8)},
}


def test_the_hash_sees_the_market_once_it_decides_the_floor():
    def with_market(floor: Any = 0.1, **market: Any) -> str:
        return Policy.model_validate(
            {
                "name": "x",
                "effective_from": date(2026, 1, 1),
                "coins": {"revenue_floor": floor},
                "market": market,
            }
        ).hash

    assert MARKET.keys() == Market.model_fields.keys()
    assert {with_market(**{key: value}) for key, value in MARKET.items()} == {with_market()}
    hashes = {with_market("market", **{key: value}) for key, value in MARKET.items()}
    assert len(hashes | {with_market(), with_market("market")}) == len(MARKET) + 2


def test_what_ships_has_the_hash_it_always_had():
    """Money was paid under it: a section that it does not use must not give it another name."""
    names = ("printed", "hardened", "evidence")
    found = {name: read_policy(SHIPPED / f"{name}.toml").hash for name in names}
    assert found == {
        "printed": "e2a12fec8c882556",
        "hardened": "f879c4144c768fe7",
        "evidence": EVIDENCE,
    }


def test_the_hash_sees_the_bonus_once_there_is_a_budget():
    def with_bonus(**bonus: Any) -> str:
        return Policy.model_validate(
            {"name": "x", "effective_from": date(2026, 1, 1), "bonus": bonus}
        ).hash

    others = {"planned": 0.5, "exponent": 3.0, "levels": 9, "history_days": 9, "prior_days": 9.0}
    assert {"budget_micros", *others} == Bonus.model_fields.keys()
    assert {with_bonus(**{key: value}) for key, value in others.items()} == {with_bonus()}
    hashes = {with_bonus(budget_micros=5, **{key: value}) for key, value in others.items()}
    assert (
        len(hashes | {with_bonus(), with_bonus(budget_micros=5), with_bonus(budget_micros=6)})
        == len(others) + 3
    )


def test_the_hash_sees_the_epochs_once_there_is_a_mechanism():
    def with_epochs(**epochs: Any) -> str:
        return Policy.model_validate(
            {"name": "x", "effective_from": date(2026, 1, 1), "epochs": epochs}
        ).hash

    assert EPOCHS.keys() == Epochs.model_fields.keys()
    others = {key: value for key, value in EPOCHS.items() if key != "mechanism"}
    assert {with_epochs(**{key: value}) for key, value in others.items()} == {with_epochs()}
    hashes = {with_epochs(mechanism="uir", **{key: value}) for key, value in others.items()}
    assert (
        len(hashes | {with_epochs(), with_epochs(mechanism="uir"), with_epochs(mechanism="hmt")})
        == len(others) + 3
    )


@pytest.mark.parametrize("name", ["printed", "hardened"])
def test_the_hash_is_the_same_in_every_process_and_order(name):
    policy = read_policy(SHIPPED / f"{name}.toml")
    again = Policy.model_validate(dict(reversed(policy.model_dump().items())))
    assert again.hash == policy.hash
    assert json.loads(json.dumps(policy.hash)) == policy.hash
    assert len(policy.hash) == 16
    assert int(policy.hash, 16) >= 0


# --------------------------------------------------------------------------------------------------
# Exact numbers


@given(st.decimals(min_value=0, max_value=1, places=6))
def test_a_share_is_the_decimal_that_was_written(decimal):
    assert exact(float(decimal)) == Fraction(decimal)


def test_a_category_may_have_its_own_share():
    ads = Ads(platform_share_by_category={"music": 0.3})
    assert (ads.platform_share_of("music"), ads.platform_share_of("sports")) == (
        Fraction(3, 10),
        Fraction(11, 20),
    )


def test_a_policy_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        Coins().theta = 1.0


@pytest.mark.parametrize(
    ("coins", "message"),
    [
        ("payout_cap = 0.5", "payout_cap = 0.5 has no effect under scope = 'video'"),
        ("gap_by_quality = true", "gap_by_quality = True has no effect"),
        ('weight = "quality"', "weight = 'quality' has no effect"),
        ('scope = "platform"\npayout_min = 0.7', "payout_min = 0.7 cannot be paid"),
        ('scope = "platform"\npayout_max = 0.01', "payout_max = 0.01 is less than min_gap = 0.05"),
        ('scope = "platform"\npayout_cap = 0.01', "payout_cap = 0.01 is less than min_gap = 0.05"),
    ],
)
def test_a_file_promises_nothing_that_a_run_ignores_or_refuses(
    tmp_path: Path, coins: str, message: str
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(f'name = "p"\neffective_from = 2020-01-01\n[coins]\n{coins}\n')
    with pytest.raises(PolicyError, match=message):
        read_policy(path)


def test_what_ships_holds_from_the_first_day_of_any_data() -> None:
    for name in ("hardened", "printed", "evidence"):
        book = PolicyBook.read(PROJECT / "assets_data" / "policies", name)
        assert book.in_force(date(1970, 1, 1)).name == name
