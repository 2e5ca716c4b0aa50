"""What the Azure backend takes as its address, and that no secret ever leaves it."""

import logging
import subprocess
import sys
import traceback
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from storage import BlobStore, InvalidSettings, StorageDenied
from storage.azure import AzureStore, Patience
from tests.fixtures.azurite import ACCOUNT, KEY, Azurite
from tests.fixtures.stores import fetched, paths, source

HASTY = Patience(retries=0)
SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"  # base64, as a key is


def sas(container: str, key: str = KEY) -> str:
    return generate_container_sas(
        ACCOUNT,
        container,
        account_key=key,
        permission=ContainerSasPermissions.from_string("rwdlc"),
        expiry=datetime.now(UTC) + timedelta(hours=1),
        protocol="https,http",
    )


async def works(store: BlobStore) -> None:
    await store.put("a/b", source(b"content"))
    assert await fetched(store, "a/b") == b"content"
    assert await paths(store) == ["a/b"]
    await store.close()


async def test_an_account_url_with_a_key_works(azurite: Azurite) -> None:
    await works(AzureStore.from_account_url(azurite.url, f"test-{uuid.uuid4()}", KEY))


@pytest.mark.parametrize("where", ["credential", "url"])
async def test_a_sas_for_one_container_works(azurite: Azurite, where: str) -> None:
    container = f"test-{uuid.uuid4()}"
    owner = AzureStore.from_account_url(azurite.url, container, KEY)
    await owner.check()
    await owner.close()
    token = sas(container)
    if where == "url":
        await works(AzureStore.from_account_url(f"{azurite.url}?{token}", container))
    else:
        await works(AzureStore.from_account_url(azurite.url, container, token))


def refused_stores(azurite: Azurite) -> list[AzureStore]:
    container = f"test-{uuid.uuid4()}"
    wrong_sas = sas(container, SECRET)
    connection_string = azurite.connection_string.replace(KEY, SECRET)
    return [
        AzureStore.from_connection_string(connection_string, container, HASTY),
        AzureStore.from_account_url(azurite.url, container, SECRET, HASTY),
        AzureStore.from_account_url(azurite.url, container, "not base64!", HASTY),
        AzureStore.from_account_url(azurite.url, container, wrong_sas, HASTY),
        AzureStore.from_account_url(f"{azurite.url}?{wrong_sas}", container, None, HASTY),
        AzureStore.from_account_url(azurite.url, container, None, HASTY),
    ]


async def test_a_wrong_credential_is_denied_and_told_nowhere(
    azurite: Azurite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    for store in refused_stores(azurite):
        for call in (store.check(), store.stat("a"), store.put("a", source(b"x")), paths(store)):
            with pytest.raises(StorageDenied) as caught:
                await call
            assert caught.value.code == "storage_denied"
            told += [repr(caught.value), "".join(traceback.format_exception(caught.value))]
        told.append(repr(store))
        await store.close()
    text = "\n".join([*told, caplog.text])
    assert len(caplog.records) > 10  # the client does log; only not this
    for secret in (SECRET, KEY, "not base64!", "sig=", "AccountKey", "string to sign"):
        assert secret not in text.replace("sig=REDACTED", "")


@pytest.mark.parametrize("connection_string", ["", "x", f"AccountKey={SECRET}", SECRET])
def test_a_malformed_connection_string_is_not_quoted(connection_string: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        AzureStore.from_connection_string(connection_string, "container")
    assert caught.value.code == "invalid_settings"
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("url", "container"), [("", "c"), (f"https://?sig={SECRET}", "c")])
def test_a_malformed_account_url_is_not_quoted(url: str, container: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        AzureStore.from_account_url(url, container)
    assert SECRET not in str(caught.value)


def test_the_package_works_without_the_azure_extra() -> None:
    program = """
import sys
sys.modules["azure"] = sys.modules["aiohttp"] = None  # importing either fails
import storage, storage.local
try:
    import storage.azure
except ImportError:
    print("only the backend is missing")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("only the backend is missing\n", "")
