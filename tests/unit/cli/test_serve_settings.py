"""`docex serve` with settings that can't be meant: said at once, by their names, without a trace."""

import pytest

from tests.unit.cli.support import failure, run


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OIDC_ROLES", "docex-ops=operator", 'error parsing value for field "oidc_roles"'),
        ("OIDC_ROLES", '{"ops": "root"}', "setting oidc_roles.ops: Input should be 'supplier'"),
        ("RATE_CALLER", "-1", "setting rate_caller: Input should be greater"),
    ],
)
def test_settings_that_can_not_be_meant(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(f"DOCEX_{name}", value)
    assert failure(run("serve"), "usage", 2).startswith(says)
