"""What the README says to type does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[3] / "README.md"


def block(title: str) -> str:
    """The first indented block under a title."""
    section = README.read_text().split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return section[section.index("\n    ") :].split("\n\n", 1)[0]


def test_packets_without_a_server_as_written(tmp_path: Path) -> None:
    (tmp_path / "certificate.pdf").write_bytes(b"%PDF-1.7 quality")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOCEX_")}
    environment |= {"DOCEX_PASSPHRASE": "correct horse", "TYPED": str(Path(sys.executable).parent)}
    script = "set -e\nPATH=$TYPED:$PATH\n" + block("Use it without a server")
    done = subprocess.run(
        ["/bin/sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for folder in ("received", "audited"):
        assert (tmp_path / folder / "certificate.pdf").read_bytes() == b"%PDF-1.7 quality"


def test_it_stays_short() -> None:
    assert len(README.read_text().splitlines()) < 150
