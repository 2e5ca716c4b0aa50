"""Which statements lie in a folder, by what they are about."""

import pytest

from docex.core import statement
from docex.core.access import EVERYTHING, Folders
from docex.core.claims import Addressee, Body, Document, Link, Packet, Revocation
from docex.service.node import Node
from docex.service.visible import find_statement
from tests.fixtures.paper_nodes import NewNode
from tests.fixtures.statements import digest_of

ASSET = "eip155:1/erc721:0x0/1"


@pytest.fixture
def node(new_node: NewNode) -> Node:
    return new_node("Mine")


async def kept(node: Node, body: Body) -> str:
    said = statement.issue(node.signer, node.account, body, node.now())
    await node.store.add_statements([said])
    return said.digest_text


async def where(node: Node, digest: str) -> list[bool]:
    """Whether it is found everywhere, in its folder, and in another one."""
    places = (EVERYTHING, Folders(("a",)), Folders(("b",)))
    return [await find_statement(node, digest, each) is not None for each in places]


async def test_statements_about_a_document_lie_where_it_does(node: Node) -> None:
    document = await kept(node, Document(digest_of("x"), 1, "x", "text/plain", "a"))
    link = await kept(node, Link(ASSET, document))
    for about in (document, link):
        assert await where(node, about) == [True, True, False]
        assert await where(node, await kept(node, Revocation(about, "wrong", node.now()))) == [True, True, False]


async def test_what_is_about_nothing_here_lies_in_no_folder(node: Node) -> None:
    for about in (digest_of("nothing"), await kept(node, Link(ASSET, digest_of("nothing")))):
        assert await where(node, await kept(node, Link(ASSET, about))) == [True, False, False]
        assert await where(node, await kept(node, Revocation(about, "wrong", node.now()))) == [True, False, False]
    assert await where(node, digest_of("nothing")) == [False] * 3


async def test_a_chain_of_statements_is_not_followed(node: Node) -> None:
    about = await kept(node, Document(digest_of("x"), 1, "x", "text/plain", "a"))
    link = await kept(node, Link(ASSET, about))
    assert await where(node, await kept(node, Link(ASSET, link))) == [True, False, False]
    revocation = await kept(node, Revocation(about, "wrong", node.now()))
    assert await where(node, await kept(node, Revocation(revocation, "wrong", node.now()))) == [True, False, False]


async def test_other_statements_lie_in_no_folder(node: Node) -> None:
    packet = Packet((digest_of("x"),), node.account, (Addressee("A" * 43, node.account),))
    assert await where(node, await kept(node, packet)) == [True, False, False]
