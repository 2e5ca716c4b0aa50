"""What the age tool says of the two things that only docex makes; that both open each other's files: tests/e2e."""

import io
import subprocess
from pathlib import Path

import pytest

from docex.core import age
from docex.core.recipients import parse_recipient
from keys import bech32
from keys.identity import HybridIdentity, RsaIdentity
from tests.fixtures import stock_tools

SECRET = bytes(range(32))
needs_age = stock_tools.needs("age")


@needs_age
def test_the_age_tool_takes_an_rsa_recipient_for_that_of_a_plugin(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        stock_tools.run(f"age -r {RsaIdentity.generate(2048).recipient}", b"x", tmp_path)
    assert b"age-plugin-docexrsa" in caught.value.stderr


@needs_age
@pytest.mark.parametrize("size", [0, 1, 65536, 3 << 20])
def test_the_age_tool_refuses_an_aborted_packet(size: int, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(bech32.encode("AGE-SECRET-KEY-PQ-", SECRET) + "\n")
    recipient = parse_recipient(HybridIdentity(SECRET).recipient)
    for abort in (False, True):
        out = io.BytesIO()
        writer = age.EncryptingWriter(out, [recipient])
        writer.write(bytes(size))
        if abort:
            writer.abort()
        writer.close()
        (tmp_path / "packet").write_bytes(out.getvalue())
        if not abort:
            assert stock_tools.run("age -d -i key packet", cwd=tmp_path) == bytes(size)
            continue
        with pytest.raises(subprocess.CalledProcessError):
            stock_tools.run("age -d -i key packet", cwd=tmp_path)
