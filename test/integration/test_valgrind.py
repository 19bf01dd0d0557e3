"""Under valgrind: no use of memory that is not there or not set, and nothing left when it ends."""

import contextlib
import os
import shutil
import signal

import pytest

from harness.pooler import has_sanitizers, is_pgbouncer
from harness.scenario import Scenario
from harness.system import give_away, stop_process

pytestmark = [pytest.mark.skipif(is_pgbouncer() or has_sanitizers(), reason="about our program without sanitizers"),
              pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")]

# What is still reachable is OpenSSL's: algorithms that are looked up once and kept.
LEAKS = "definite,indirect,possible"


def test_a_life_with_everything_in_it_has_no_error_and_leaves_nothing(pg, certs, make_pooler):
    with contextlib.ExitStack() as stack:
        s = Scenario(stack, pg, certs, make_pooler)
        report = os.path.join(s.pooler.directory, "report")
        open(report, "w").close()
        give_away(report)
        s.pooler.run_under("valgrind", "--leak-check=full", f"--show-leak-kinds={LEAKS}",
                           f"--errors-for-leak-kinds={LEAKS}", "--num-callers=25", f"--log-file={report}")
        s.pooler.start()
        s.live()
        status = stop_process(s.pooler.process, signal.SIGINT, timeout=60)
        s.pooler.process = None
        with open(report) as f:
            text = f.read()
        assert "ERROR SUMMARY: 0 errors" in text, text
        assert status == 0
