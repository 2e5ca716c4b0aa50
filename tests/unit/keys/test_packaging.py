"""What importing `keys` costs and pulls in."""

import subprocess
import sys


def test_importing_keys_loads_no_vendor() -> None:
    code = "import sys, keys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    assert not {"cryptography", "nacl", "coincurve", "eth_hash", "azure", "docex"} & set(loaded)
