"""etc/quickstart: the first thing a newcomer runs."""

import os
import signal
import subprocess
import time

from harness.system import eventually, run

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../etc/quickstart")


def test_check():
    done = run([SCRIPT, "--check", "--port", "0"], timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "DATABASE_URL=postgresql://" in done.stdout
    assert "cl_active" in done.stdout


def test_second_time_it_does_not_build():
    run([SCRIPT, "--check", "--port", "0"], timeout=500)
    program = os.path.join(os.path.dirname(SCRIPT), "../build/quickstart/pgsluice")
    before = os.stat(program).st_mtime_ns
    done = run([SCRIPT, "--check", "--port", "0"], timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert os.stat(program).st_mtime_ns == before


def test_interrupt_cleans_up():
    # As from a terminal, even where the tests run in the background, which has SIGINT ignored.
    process = subprocess.Popen([SCRIPT, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    said = []
    try:
        while not any("DATABASE_URL=" in line for line in said):
            line = process.stdout.readline()
            assert line, "".join(said)
            said.append(line)
        url = next(line for line in said if "DATABASE_URL=" in line).split("DATABASE_URL=")[1].split()[0]
        assert run(["psql", "-X", "-A", "-t", url, "-c", "SELECT 'works'"]).stdout.strip() == "works"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
    eventually(lambda: run(["psql", "-X", url, "-c", "SELECT 1"]).returncode != 0, "nothing answers any more")
    directory = next(line.split()[-1] for line in said if "in /tmp/" in line)
    assert not os.path.exists(directory)
