"""What an operator sets for a node while it runs: so far, where documents that others send are put."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from docex.core import names
from docex.core.access import RECEIVED
from docex.core.account import parse_caip10
from docex.errors import NameInvalid, UsageError
from docex.service.destinations import DEFAULT
from docex.service.node import Node

RECEIVED_PATH = "receivedDocumentsPath"
DEFAULTS: Mapping[str, str] = MappingProxyType({RECEIVED_PATH: f"/{RECEIVED}/${{sender_org}}"})
VARIABLES = ("sender_org", "sender_destination", "recipient_destination")
MAX_FOLDER_BYTES = 150  # with the path that the sender chose behind it, a path has to fit its column
_MAX_FOLDERS = 8
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_ADDRESS_BYTES = 42


async def preferences(node: Node) -> Mapping[str, str]:
    """All preferences, those that were never set with their defaults."""
    return {**DEFAULTS, **await node.store.preferences()}


async def set_preference(node: Node, key: str, value: str) -> None:
    """Set a preference; returns once it is durable. It holds for what is opened from then on.

    Raises:
        UsageError: there is no such preference, or the value is not of its form.
        NameInvalid: the value does not make a folder.
    """
    if key not in DEFAULTS:
        raise UsageError(f"there is no preference {key[:100]!a}: only {', '.join(DEFAULTS)}")
    folder_for(value, "0x" + "0" * (_ADDRESS_BYTES - 2))
    await node.store.set_preference(key, value)


def folder_for(pattern: str, sender: str) -> str:
    """The folder that a pattern makes for a sender (its address).

    Raises:
        UsageError: it is not absolute, names no folder, has other variables, or makes too long a path.
        NameInvalid: what it makes is not a path.
    """
    values = {"sender_org": sender, "sender_destination": DEFAULT, "recipient_destination": DEFAULT}
    if not pattern.startswith("/"):
        raise UsageError(f"{RECEIVED_PATH} is absolute: it starts with /")
    if unknown := [each for each in _VARIABLE.findall(pattern) if each not in values]:
        raise UsageError(f"{RECEIVED_PATH} knows {', '.join(VARIABLES)}, and not {unknown[0][:100]!a}")
    folder = _VARIABLE.sub(lambda found: values[found[1]], pattern[1:]).removesuffix("/")
    if "$" in folder:
        raise UsageError(f"a variable in {RECEIVED_PATH} is written ${{name}}")
    if not folder:  # a sender chooses the path behind it: everything else of the node would be within its reach
        raise UsageError(f"{RECEIVED_PATH} names a folder, not the root")
    if len(names.check_folder(folder).encode()) > MAX_FOLDER_BYTES or folder.count("/") >= _MAX_FOLDERS:
        raise NameInvalid(
            f"{RECEIVED_PATH} makes a folder of at most {MAX_FOLDER_BYTES} bytes and {_MAX_FOLDERS} parts"
        )
    return folder


async def received_folder(node: Node, sender: str) -> str:
    """The folder in which this node shows what a member (a CAIP-10 account) sends."""
    return folder_for((await preferences(node))[RECEIVED_PATH], parse_caip10(sender).address)
