import json
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docex.core.nesting import MAX_DEPTH, require_shallow
from docex.errors import StatementInvalid

values = st.recursive(
    st.none() | st.text('[]{}"\\x', max_size=12),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text('[{"\\', max_size=4), inner, max_size=2),
    max_leaves=60,
)


def depth(value: object) -> int:
    """The naive twin: how deep a parsed value is."""
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def accepted(data: bytes) -> bool:
    try:
        require_shallow(data)
    except StatementInvalid:
        return False
    return True


@given(values, st.integers(0, 40))
def test_depth_is_counted_as_a_parser_nests_and_brackets_in_strings_are_not(value: object, more: int) -> None:
    for _ in range(more):
        value = [value]
    assert accepted(json.dumps(value).encode()) == (depth(value) <= MAX_DEPTH)


def test_the_limit_is_exact() -> None:
    require_shallow(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"{}" * 100)
    with pytest.raises(StatementInvalid, match="nested more than 32 deep"):
        require_shallow(b'{"a":' * (MAX_DEPTH + 1))


@pytest.mark.parametrize("data", [b'"' * 200_001, b'"' + b"\\" * 200_001, b'"' + b"a" * 200_000, b"[]" * 100_000])
def test_text_made_to_be_slow_is_read_in_one_pass(data: bytes) -> None:
    start = time.monotonic()
    require_shallow(data)
    assert time.monotonic() - start < 2


def test_a_proof_nested_deep_does_not_end_the_process_when_a_library_raised_the_recursion_limit() -> None:
    script = (
        "import sys; sys.setrecursionlimit(100_000)\n"
        "from docex.core.proof import parse\n"
        "from docex.errors import ProofInvalid\n"
        "try: parse(b'[' * 1_000_000)\n"
        "except ProofInvalid: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")
