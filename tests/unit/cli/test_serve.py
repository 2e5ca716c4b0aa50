"""How `docex serve` listens."""

import socket

from docex.cli.serve import _listen


def test_accepted_connections_send_answers_at_once() -> None:
    with _listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
