"""What programs with and without logic import, and when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.runtime.nodes import ENVIRONMENT

LAZY = """
import sys, dagbox
with dagbox.open(sys.argv[1]) as db:
    db.put("user", {"name": "Ada"}, key="ada")
    db.fetch("user", "ada", relations={"friends": {"path": "friends"}})
    logic = ("lark", "dagbox.datalog", "dagbox.services.logic.service")
    print([name for name in sys.modules if name.startswith(logic)])
    db.assert_fact("likes", "ada", "tea")
    print("lark" in sys.modules)
    db.query("likes(ada, X)")
    print("lark" in sys.modules)
"""


def test_a_program_without_logic_does_not_import_it(tmp_path: Path) -> None:
    program = [sys.executable, "-c", LAZY, str(tmp_path / "data")]
    ended = subprocess.run(program, env=ENVIRONMENT, check=True, capture_output=True, text=True, timeout=30)
    assert ended.stdout.splitlines() == ["[]", "False", "True"]
