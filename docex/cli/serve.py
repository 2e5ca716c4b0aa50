"""``docex serve``: a member's node."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from docex.cli import output
from docex.cli.unlock import read_passphrase

if TYPE_CHECKING:
    from docex.settings import NodeSettings

_M_ARENA_MAX = -8  # of glibc's malloc.h
_NAMES = {"all": "node", "api": "API", "worker": "worker"}


def register(app: typer.Typer) -> None:
    """Add ``serve`` to the command line."""
    app.command("serve")(serve)


def serve(
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Database, packets and API token.")] = None,
    keystore: Annotated[Path | None, typer.Option("--keystore", metavar="DIR", help="The member's keystore.")] = None,
    rpc: Annotated[str | None, typer.Option("--rpc", metavar="URL", help="JSON-RPC URL of a ledger node.")] = None,
    deployment: Annotated[
        Path | None, typer.Option("--deployment", metavar="FILE", help="What `docex ledger deploy` wrote.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 takes a free one.")] = None,
    api: Annotated[bool, typer.Option("--api", help="Only the API: workers run elsewhere.")] = False,
    worker: Annotated[bool, typer.Option("--worker", help="Only a worker: delivery and anchoring.")] = False,
    tsa: Annotated[
        str | None, typer.Option("--tsa", metavar="URL", help="RFC 3161 time-stamping authority to ask, too.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", metavar="FILE", help="File with the passphrase.")
    ] = None,
) -> None:
    """Run a node until Ctrl-C: REST API, delivery to other members, anchoring.

    Every option can also be set as DOCEX_DATA, DOCEX_KEYSTORE, DOCEX_RPC and so on. By default it keeps everything in
    ./docex-data (SQLite and a folder of packets) and finds the ledger at http://127.0.0.1:8545.

    Any number of processes with --api and with --worker (or DOCEX_PARTS=api, worker) can share one database: SQLite on
    one machine; PostgreSQL (DOCEX_DATABASE), with Azure Blob or a folder that all see and one DOCEX_API_TOKEN, on many.
    A worker listens only where it is told a port: for /livez, /readyz and /metrics.
    """
    given: dict[str, Any] = {
        "data": data,
        "keystore": keystore,
        "rpc": rpc,
        "deployment": deployment,
        "host": host,
        "port": port,
        "tsa": tsa,
        "parts": ("all" if worker else "api") if api else "worker" if worker else None,
    }
    settings = node_settings(given)
    passphrase = read_passphrase(passphrase_file, what=f"Passphrase of {settings.keystore}")
    _share_heaps()
    asyncio.run(_serve(settings, passphrase))


def node_settings(given: dict[str, Any]) -> NodeSettings:
    """The node's settings, with what was given on the command line (not None) on top. Raises UsageError."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from docex.errors import UsageError
    from docex.settings import NodeSettings

    try:
        return NodeSettings(**{name: value for name, value in given.items() if value is not None})
    except SettingsError as error:  # names the setting, and not its value
        raise UsageError(f"{error}: it has to be JSON") from None
    except ValidationError as error:
        fault = error.errors()[0]
        raise UsageError(f"setting {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None


async def _serve(settings: NodeSettings, passphrase: bytes) -> None:
    import uvicorn

    from docex import failpoints
    from docex.api.app import make_app, make_worker
    from docex.api.connections import ConnectionLimits
    from docex.api.server import configured
    from docex.errors import NotMember
    from docex.logs import configure
    from docex.wiring import api_token, running_node

    if armed := failpoints.arm(os.environ.get(failpoints.VARIABLE, "")):
        output.warning(f"this node is under test: it ends itself at {', '.join(sorted(armed))}")
    configure()
    listening = [_listen(settings.host, settings.port)] if settings.listens else []
    async with running_node(settings, passphrase) as node:
        url = "".join(" at http://{}:{}".format(*each.getsockname()[:2]) for each in listening)
        output.note(f"{_NAMES[settings.parts]} of {node.account}{url}")
        if settings.parts == "worker":
            app = make_worker(node, interval=settings.interval)
        else:
            token = api_token(settings)
            output.note(f"API token: {token.path or 'as set in DOCEX_API_TOKEN'}")
            app = make_app(node, token.value, interval=settings.interval, worker=settings.parts == "all")
        try:
            await node.ledger.check()
        except NotMember as error:
            output.warning(str(error))
        limits = ConnectionLimits(settings.connections, settings.connections_per_address)
        await uvicorn.Server(configured(app, limits=limits)).serve(sockets=listening)


def _share_heaps() -> None:
    """Have threads share two heaps. By default glibc gives each of many a heap that keeps what a large upload took."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is started, so that one in use is an error at once."""
    listening = socket.create_server((host, port), backlog=1024)
    listening.set_inheritable(True)
    # Accepted connections inherit it. asyncio sets it only where a socket knows that it is TCP, which this one does
    # not: answers would wait 40 ms for the client to acknowledge their headers.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
