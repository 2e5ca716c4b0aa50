"""Settings: from the environment, and never such that a node stands open by accident."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from docex.core.access import Role
from docex.settings import NodeSettings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DOCEX_"):
            monkeypatch.delenv(name)


def test_a_node_on_one_machine_needs_no_settings() -> None:
    settings = NodeSettings()
    assert (settings.host, settings.port, settings.rpc) == ("127.0.0.1", 8080, "http://127.0.0.1:8545")
    assert settings.database_url == f"sqlite+aiosqlite:///{Path('docex-data/docex.db').absolute()}"
    assert (settings.api_token, settings.azure_storage) == (None, None)


def test_the_environment_sets_and_arguments_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCEX_PORT", "9000")
    monkeypatch.setenv("DOCEX_DATABASE", "postgresql+psycopg://host/db")
    monkeypatch.setenv("DOCEX_SOMETHING_ELSE", "ignored")
    settings = NodeSettings(port=9001)
    assert (settings.port, settings.database_url) == (9001, "postgresql+psycopg://host/db")


@pytest.mark.parametrize("token", ["", "short", "x" * 19])
def test_an_api_token_that_protects_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("DOCEX_API_TOKEN", token)
    with pytest.raises(ValidationError, match="at least 20"):
        NodeSettings()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCEX_API_TOKEN", "a-secret-of-some-length")
    monkeypatch.setenv("DOCEX_AZURE_STORAGE", "AccountKey=a-secret-of-some-length")
    assert "a-secret" not in repr(NodeSettings())


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 70_000), ("port", -1), ("confirmations", 0), ("interval", 0), ("interval", 61), ("max_document_size", 0)],
)
def test_values_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValidationError, match=name):
        NodeSettings(**{name: value})  # type: ignore[arg-type]


def test_a_worker_alone_listens_only_where_it_is_told_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    each = [NodeSettings.model_validate({"parts": parts}).listens for parts in ("all", "api", "worker")]
    assert each == [True, True, False]
    assert NodeSettings(parts="worker", port=9000).listens
    monkeypatch.setenv("DOCEX_PORT", "9000")
    monkeypatch.setenv("DOCEX_PARTS", "worker")
    assert NodeSettings().listens
    with pytest.raises(ValidationError, match="parts"):
        NodeSettings.model_validate({"parts": "none"})


def test_values_of_a_claim_are_roles_by_a_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    assert NodeSettings().oidc_roles == {f"docex-{role}": role for role in Role}
    monkeypatch.setenv("DOCEX_OIDC_ROLES", '{"7b1c": "supplier", "CN=Audit, O=X": "auditor"}')
    assert NodeSettings().oidc_roles == {"7b1c": Role.SUPPLIER, "CN=Audit, O=X": Role.AUDITOR}
    monkeypatch.setenv("DOCEX_OIDC_ROLES", '{"7b1c": "root"}')
    with pytest.raises(ValidationError, match="oidc_roles"):
        NodeSettings()
