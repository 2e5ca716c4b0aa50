"""What a caller who is kept to folders sees: everything else is, for it, not there."""

from __future__ import annotations

from docex.core import statement
from docex.core.access import Folders
from docex.core.claims import Document, Link, Receipt, Revocation, Transfer
from docex.core.state import StoredStatement
from docex.core.statement import Statement
from docex.errors import NotFound
from docex.service.node import Node


async def find_statement(node: Node, digest: str, within: Folders) -> StoredStatement | None:
    """The statement with this digest, where it lies in the folders; what it is about decides."""
    stored = await node.store.statement(digest)
    return stored if stored is not None and await shows(node, stored, within) else None


async def shows(node: Node, stored: StoredStatement, within: Folders) -> bool:
    """Whether what a stored statement is about lies in the folders."""
    if within.everything:
        return True
    said = statement.parse(stored.token)
    body = said.body
    if isinstance(body, Document):
        # Named by its statement: by the document's own digest, a document that holds a statement's bytes would open it.
        return states_path_in(node, said, within) or await node.store.shows(stored.digest, within)
    if isinstance(body, Transfer):
        return await _shows_transfer(node, stored.digest, within)
    if isinstance(body, Receipt):
        return await _shows_transfer(node, body.transfer, within)
    if isinstance(body, Revocation | Link):
        about = await node.store.statement(body.statement)
        # No chain of statements about statements: it would be as long as somebody likes.
        ends = (Revocation.TYPE,) if isinstance(body, Revocation) else (Revocation.TYPE, Link.TYPE)
        return about is not None and about.type not in ends and await shows(node, about, within)
    return False


def states_path_in(node: Node, said: Statement, within: Folders) -> bool:
    """Whether this is a document statement of the node's own member, with a path in the folders."""
    # Another member's states where the document is with that one: here it lies in a folder of its sender.
    return isinstance(said.body, Document) and said.issuer == node.account and said.body.path in within


async def _shows_transfer(node: Node, transfer: str, within: Folders) -> bool:
    try:
        await node.store.transfer(transfer, within)
    except NotFound:
        return False
    return True
