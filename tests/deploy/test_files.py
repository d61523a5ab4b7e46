"""What must hold of the files in deploy/, read as text: no secret in them, one door, one version of
everything, the same names.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import Home

PROJECT = Path(__file__).resolve().parents[2]
DEPLOY = PROJECT / "deploy"
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
SECRET = re.compile(
    r"PASSWORD|SECRET(?!S|NAME)|TOKEN|HASH|ACCESS_KEY$", re.IGNORECASE
)  # not lists of names
TAG = re.compile(
    r"[\w./-]+:\d+\.\d+(\.\d+)?(-[\w.-]+)?"
)  # a name, and a version with at least two numbers


def _yaml(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def _text(name: str) -> str:
    return (DEPLOY / name).read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return _yaml("compose.yaml")["services"]  # type: ignore[no-any-return]


def _pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().split("\n") if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def _walk(value: Any, key: str = "") -> list[tuple[str, Any]]:
    """Every scalar with the key it stands under; {name: ..., value: ...} counts as a key too."""
    if isinstance(value, dict):
        if isinstance(value.get("name"), str) and "value" in value:
            return [(value["name"], value["value"])]
        return [found for k, v in value.items() for found in _walk(v, str(k))]
    if isinstance(value, list):
        return [found for v in value for found in _walk(v, key)]
    return [(key, value)]


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["compose.yaml", "dagster.yaml", "values.yaml", "workspace.yaml"])
def test_no_secret_stands_in_a_file(name: str) -> None:
    allowed = re.compile(
        r"\$\{\w+:\?[^}]*\}"
    )  # compose: from the environment, or an error that names it
    for key, value in _walk(_yaml(name)):
        if not SECRET.search(key) or isinstance(value, bool):
            continue
        assert allowed.fullmatch(str(value)), f"{name}: {key} = {value}"
    dagster = _yaml("dagster.yaml")["storage"]["postgres"]["postgres_db"]
    assert dagster["password"] == {"env": "DAGSTER_PG_PASSWORD"}


def test_the_example_environment_has_every_name_and_no_secret() -> None:
    example = dict(
        line.split("=", 1)
        for line in _text(".env.example").split("\n")
        if line and not line.startswith("#")
    )
    assert {name: value for name, value in example.items() if SECRET.search(name) and value} == {}
    used = set(re.findall(r"^[^#\n]*\$\{(\w+)", _text("compose.yaml"), re.MULTILINE))
    assert used == set(example)
    assert {"deploy/.env", "deploy/tls/"} <= set((PROJECT / ".gitignore").read_text().split("\n"))
    assert {"deploy/.env", "deploy/tls"} <= set((PROJECT / ".dockerignore").read_text().split("\n"))


def test_roles_take_their_passwords_from_the_environment(services: dict[str, Any]) -> None:
    sql = _text("roles.sql")
    variables = dict(re.findall(r"^\\getenv (\w+) (\w+)$", sql, re.MULTILINE))
    assert set(re.findall(r"PASSWORD (.+);", sql)) == {f":'{name}'" for name in variables}
    assert set(variables.values()) <= set(services["postgres"]["environment"])


def test_each_service_gets_the_passwords_it_needs_and_no_other(services: dict[str, Any]) -> None:
    given = {
        name: {k for k in s.get("environment", {}) if SECRET.search(k)}
        for name, s in services.items()
    }
    assert given["workers"] == given["setup"] == {"DAGSTER_PG_PASSWORD", "PGPASSWORD"}
    assert given["daemon"] == given["webserver"] == {"DAGSTER_PG_PASSWORD"}
    assert given["studio"] == {"PGPASSWORD"}
    assert services["studio"]["environment"]["EARNINGS_PG_USER"] == "earnings_reader"
    assert given["proxy"] == {"EARNINGS_UI_PASSWORD_HASH"}
    owner = "${EARNINGS_OWNER_PASSWORD:?see deploy/.env.example}"
    assert [name for name, s in services.items() if owner in s.get("environment", {}).values()] == [
        "postgres",
        "setup",
    ]


# --------------------------------------------------------------------------------------------------


def test_only_the_proxy_can_be_reached(services: dict[str, Any]) -> None:
    networks = _yaml("compose.yaml")["networks"]
    inside = {name for name, options in networks.items() if options.get("internal")}
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert [
        name for name, service in services.items() if not set(service["networks"]) <= inside
    ] == ["proxy"]
    assert not [
        name
        for name, service in services.items()
        if "network_mode" in service or service.get("privileged")
    ]
    assert "postgres" not in [
        name
        for name, service in services.items()
        if set(service["networks"]) & set(services["proxy"]["networks"])
    ]


def test_the_proxy_asks_for_a_login_before_the_web_ui() -> None:
    site = re.sub(r"^\s*#.*$", "", _text("Caddyfile"), flags=re.MULTILINE)
    blocks = re.findall(r"^(\S+) \{\n(.*?)^\}", site, re.MULTILINE | re.DOTALL)
    (door,) = (inner for name, inner in blocks if name == "(door)")
    assert "basic_auth {\n" in door
    assert "reverse_proxy" not in door
    sites = {name: inner for name, inner in blocks if name != "(door)"}
    assert sorted(sites) == ["{$EARNINGS_SITE:localhost}", "{$EARNINGS_SITE:localhost}:8443"]
    for inner in sites.values():
        assert inner.split()[:2] == ["import", "door"]
        assert inner.count("reverse_proxy") == 1
    assert not re.search(r"handle|route|@", site), "a matcher could let a path past the login"
    assert "http://" not in site


def test_kubernetes_has_no_way_in_without_a_login_either() -> None:
    values = _yaml("values.yaml")
    assert values["ingress"] == {"enabled": False}
    assert values["dagsterWebserver"]["service"]["type"] == "ClusterIP"


def test_runs_on_kubernetes_have_the_limits_and_the_rights_that_are_written_for_them() -> None:
    values = _yaml("values.yaml")
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    assert "resources" not in deployment  # dagster-k8s would take them for the runs
    run = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    assert run["podSpecConfig"]["securityContext"] == deployment["podSecurityContext"]
    assert run["containerConfig"]["securityContext"] == deployment["securityContext"]
    web = values["dagsterWebserver"]
    assert web["service"]["port"] == web["readinessProbe"]["httpGet"]["port"] > 1024


def test_connections_to_postgresql_are_encrypted_and_verified() -> None:
    rules = [
        line.split()
        for line in _text("pg_hba.conf").split("\n")
        if line and not line.startswith("#")
    ]
    assert {rule[0] for rule in rules} == {"local", "hostssl"}
    assert {rule[-1] for rule in rules if rule[0] == "hostssl"} == {"scram-sha-256"}
    assert (
        _yaml("dagster.yaml")["storage"]["postgres"]["postgres_db"]["params"]["sslmode"]
        == "verify-full"
    )
    assert _yaml("values.yaml")["postgresql"]["postgresqlParams"]["sslmode"] == "verify-full"
    assert " sslmode=verify-full" in tomllib.loads(_text("settings.toml"))["warehouse"]


# --------------------------------------------------------------------------------------------------


def test_dagster_is_of_one_version_everywhere() -> None:
    wanted = next(d.split("==")[1] for d in PYPROJECT["dependencies"] if d.startswith("dagster=="))
    major, minor, patch = map(int, wanted.split("."))
    library = f"{major - 1}.{minor + 16}.{patch}"  # how Dagster numbers its libraries
    lock, deploy_lock = _pins(PROJECT / "requirements.lock"), _pins(DEPLOY / "requirements.lock")
    assert not lock.keys() & deploy_lock.keys()
    pinned = lock | deploy_lock
    assert {
        pinned[name]
        for name in (
            "dagster",
            "dagster-webserver",
            "dagster-graphql",
            "dagster-pipes",
            "dagster-shared",
        )
    } == {wanted}
    assert {pinned[name] for name in ("dagster-postgres", "dagster-k8s")} == {library}
    assert set(PYPROJECT["optional-dependencies"]["deploy"]) == {
        f"dagster-k8s=={library}",
        f"dagster-postgres=={library}",
    }
    assert re.findall(r"--version (\S+)", _text("values.yaml")) == [wanted]


def test_images_are_pinned(services: dict[str, Any]) -> None:
    bases = re.findall(r"^FROM (\S+)", _text("Dockerfile"), re.MULTILINE)
    images = [service["image"] for service in services.values()]
    assert [image for image in (*images, *bases) if not TAG.fullmatch(image)] == []
    assert len(set(bases)) == 1
    own = f"creator-earnings:{PYPROJECT['version']}"
    assert {image for image in images if image.startswith("creator-earnings")} == {own}
    assert f"-t {own} " in _text("Dockerfile")
    values = _yaml("values.yaml")
    tags = [values[part]["image"]["tag"] for part in ("dagsterDaemon", "dagsterWebserver")]
    assert {
        *tags,
        *(d["image"]["tag"] for d in values["dagster-user-deployments"]["deployments"]),
    } == {PYPROJECT["version"]}


def test_the_image_runs_as_nobody_in_particular_and_says_whether_it_is_well() -> None:
    final = _text("Dockerfile").split("\nFROM ")[-1]
    users = re.findall(r"^USER (\d+):(\d+)$", final, re.MULTILINE)
    assert users
    assert "0" not in users[-1]
    assert {str(_yaml("values.yaml")["dagsterWebserver"]["podSecurityContext"]["runAsUser"])} == {
        users[-1][0]
    }
    assert "\nHEALTHCHECK " in final
    assert "pip install" not in final


def test_what_the_image_copies_exists() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+)$", _text("Dockerfile"), re.MULTILINE)
    for line in copies:
        for source in shlex.split(line)[:-1]:
            assert (PROJECT / source).exists(), f"COPY {line}"


def test_every_service_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    for name, service in services.items():
        own = service.get("healthcheck", {})
        from_image = service["image"].startswith("creator-earnings")
        assert own.get("disable") is True if name == "setup" else own.get("test") or from_image, (
            name
        )
        for other, condition in service.get("depends_on", {}).items():
            assert condition["condition"] == (
                "service_completed_successfully" if other == "setup" else "service_healthy"
            )


def test_every_container_has_the_rights_it_needs_and_no_more(services: dict[str, Any]) -> None:
    assert {
        name
        for name, s in services.items()
        if s["cap_drop"] != ["ALL"] or s["security_opt"] != ["no-new-privileges:true"]
    } == set()
    assert {name for name, s in services.items() if not s.get("read_only")} == {"postgres"}


def test_postgresql_is_not_called_healthy_while_it_is_being_set_up(
    services: dict[str, Any],
) -> None:
    # The image runs roles.sql on a server that listens on a socket only.
    test = services["postgres"]["healthcheck"]["test"]
    assert test[:2] == ["CMD", "pg_isready"]
    assert "host=127.0.0.1" in test[-1]


# --------------------------------------------------------------------------------------------------


def test_roles_and_databases_have_the_same_names_everywhere(services: dict[str, Any]) -> None:
    sql = _text("roles.sql")
    listed = re.search(r"unnest\(ARRAY\[(.+)\]\)", sql)
    assert listed
    roles = set(re.findall(r"'(\w+)'", listed[1]))
    databases = dict(re.findall(r"\('(\w+)', '(\w+)'\)", sql))
    assert roles == set(re.findall(r"^ALTER ROLE (\w+) PASSWORD", sql, re.MULTILINE))
    assert set(databases.values()) <= roles
    rules = [
        line.split() for line in _text("pg_hba.conf").split("\n") if line.startswith("hostssl")
    ]
    assert {rule[1] for rule in rules} == set(databases)
    assert {role for rule in rules for role in rule[2].split(",")} == roles
    storage = _yaml("dagster.yaml")["storage"]["postgres"]["postgres_db"]
    assert (storage["db_name"], storage["username"]) == ("dagster", databases["dagster"])
    values = _yaml("values.yaml")["postgresql"]
    assert (values["postgresqlDatabase"], values["postgresqlUsername"]) == (
        "dagster",
        databases["dagster"],
    )
    assert " dbname=earnings " in tomllib.loads(_text("settings.toml"))["warehouse"]
    assert services["setup"]["environment"]["EARNINGS_PG_USER"] == databases["earnings"]
    assert services["workers"]["environment"]["EARNINGS_PG_USER"] == "earnings_pipeline"
    assert "earnings_pipeline" in roles


def test_what_a_file_reads_from_the_environment_is_there(services: dict[str, Any]) -> None:
    storage = {value for key, value in _walk(_yaml("dagster.yaml")) if key == "env"}
    address = set(re.findall(r"\$\{(\w+)\}", tomllib.loads(_text("settings.toml"))["warehouse"]))
    caddy = set(re.findall(r"\{\$(\w+)\}", _text("Caddyfile")))
    for name in ("workers", "daemon", "webserver", "setup"):
        assert storage <= set(services[name]["environment"]), name
    assert address <= set(services["workers"]["environment"])
    assert address <= {key for key, _ in _walk(_yaml("values.yaml")["dagster-user-deployments"])}
    assert caddy <= set(services["proxy"]["environment"])
    top = _yaml("compose.yaml")
    for kind in ("configs", "secrets", "volumes", "networks"):
        used = {
            (
                item["source"]
                if isinstance(item, dict)
                else item.split(":")[0]
                if kind == "volumes"
                else item
            )
            for service in services.values()
            for item in service.get(kind, [])
        }
        assert used == set(top[kind]), kind
    for name in ("dagster.yaml", "settings.toml", "pg_hba.conf", "roles.sql", "Caddyfile"):
        assert name in {config["file"] for config in top["configs"].values()}


def test_the_settings_are_those_of_a_lake_without_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.toml").write_text(_text("settings.toml"))
    for name, value in {
        "EARNINGS_PG_HOST": "db",
        "EARNINGS_PG_PORT": "5432",
        "EARNINGS_PG_USER": "earnings_pipeline",
    }.items():
        monkeypatch.setenv(name, value)
    lake = Home.at(tmp_path).lake
    assert lake is not None
    assert (
        lake.dsn == "host=db port=5432 dbname=earnings user=earnings_pipeline sslmode=verify-full"
    )
    assert (lake.data, lake.password) == ("/srv/lake", None)


def test_a_restore_goes_into_a_home_that_has_its_settings_and_nothing_else(tmp_path: Path) -> None:
    backup, home = tmp_path / "backup", tmp_path / "home"
    for folder in (backup / "landing", home):
        folder.mkdir(parents=True)
    (backup / "settings.toml").write_text("last_day = 2026-03-07\n")
    (backup / "warehouse-readonly.duckdb").write_text("the warehouse")
    sums = "sha256sum ./settings.toml ./warehouse-readonly.duckdb > MANIFEST"
    subprocess.run(["sh", "-c", sums], cwd=backup, check=True)
    (home / "settings.toml").write_text('last_day = "open"\n')

    def restore() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(DEPLOY / "restore.sh"), str(backup), str(home)],
            capture_output=True,
            text=True,
            check=False,
        )

    assert restore().returncode == 0
    assert (home / "settings.toml").read_text() == 'last_day = "open"\n'
    assert (home / "warehouse.duckdb").read_text() == "the warehouse"
    again = restore()
    assert again.returncode == 1
    assert f"{home} is not empty" in again.stderr
    (home / "warehouse.duckdb").unlink()
    (backup / "warehouse-readonly.duckdb").write_text("another")
    assert restore().returncode == 1
    assert not (home / "warehouse.duckdb").exists()
