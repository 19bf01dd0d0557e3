"""etc/docker: there is no Docker here, so what the Dockerfile says is read, compared and run piece by piece."""

import contextlib
import fnmatch
import json
import os
import re
import subprocess

import pytest

from harness.pooler import is_pgbouncer
from harness.system import free_port, run

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
DOCKER = os.path.join(TOP, "etc/docker")

pytestmark = pytest.mark.skipif(is_pgbouncer(), reason="about our image")


def text_of(name):
    with open(os.path.join(TOP, name)) as f:
        return f.read()


def instructions():
    """[(instruction, arguments)], a list for each stage."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text_of("etc/docker/Dockerfile")))
    stages = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest.strip()))
    return stages


def of_kind(stage, word):
    return [rest for kind, rest in stage if kind == word]


BUILD, IMAGE = instructions()


def test_every_command_is_one_of_a_shell():
    commands = of_kind(BUILD, "RUN") + of_kind(IMAGE, "RUN")
    assert len(commands) == 3
    for command in commands:
        checked = run(["sh", "-n", "-c", command])
        assert (checked.returncode, checked.stderr) == (0, ""), command


def test_what_is_copied_is_there():
    for stage in BUILD, IMAGE:
        for what in of_kind(stage, "COPY"):
            *options, source, _ = what.split()
            assert options or os.path.exists(os.path.join(TOP, source)), what


def test_the_image_takes_the_package_that_the_other_stage_makes():
    [copied] = [what.split() for what in of_kind(IMAGE, "COPY") if what.startswith("--from=build ")]
    directory, pattern = os.path.split(copied[1])
    assert of_kind(BUILD, "WORKDIR") == [os.path.dirname(directory)]
    assert of_kind(BUILD, "RUN")[-1].endswith(" && make deb")
    assert fnmatch.fnmatch("pgsluice_0.1.0-1_amd64.deb", pattern)
    assert not fnmatch.fnmatch("pgsluice-pgbouncer_0.1.0-1_all.deb", pattern)
    assert f"{copied[2]}{pattern}" in " ".join(of_kind(IMAGE, "RUN"))


def test_the_packages_are_those_of_the_list():
    command = re.search(r"\$\((awk .*?)\)", of_kind(BUILD, "RUN")[0])[1]
    chosen = run(["sh", "-c", command.replace("/src/", "./")], cwd=TOP).stdout.split()
    assert chosen == re.findall(r"^(?:build|deb) +(\S+)", text_of("etc/packages"), re.M)
    assert "debhelper" in chosen and "libev-dev" in chosen


def test_it_does_not_run_as_root_nor_as_another_user_than_the_packages():
    [user] = of_kind(IMAGE, "USER")
    number, group = user.split(":")
    made = " ".join(of_kind(IMAGE, "RUN"))
    assert number != "0"
    assert f"useradd --system --uid {number} --gid {group} " in made and f"--gid {group} pgsluice" in made
    assert "adduser --system --group" in text_of("etc/debian/pgsluice.postinst")


def test_what_is_built_here_stays_out():
    ignored = text_of("etc/docker/Dockerfile.dockerignore").split()
    assert {"build", ".git"} <= set(ignored)


def test_the_image_starts_with_the_configuration_it_has(make_pooler, pg):
    """Its command, on its file, with other ports: and so what is told outside of them holds."""
    [program], [file] = (json.loads(of_kind(IMAGE, word)[0]) for word in ("ENTRYPOINT", "CMD"))
    assert program == "pgsluice" and of_kind(IMAGE, "COPY")[-1] == f"etc/docker/pgsluice.ini {os.path.dirname(file)}/"
    pooler = make_pooler(start=False)
    port, http = free_port(), free_port()
    ini = text_of("etc/docker/pgsluice.ini")
    for old, new in (("host=postgres port=5432", f"host=127.0.0.1 port={pg.port}"), ("/etc/pgsluice", pooler.directory),
                     ("listen_port = 6432", f"listen_port = {port}"), ("http_port = 9127", f"http_port = {http}")):
        assert ini.count(old) == 1
        ini = ini.replace(old, new)
    assert of_kind(IMAGE, "EXPOSE") == ["6432 9127"]
    pooler.userlist["app"] = "secret"
    pooler.port = pooler.settings["listen_port"] = port
    pooler.write(ini)
    pooler.start()
    assert pooler.attempt(password="secret").error is None
    assert is_healthy(http)
    pooler.stop()
    assert not is_healthy(http)


def is_healthy(port):
    [check] = of_kind(IMAGE, "HEALTHCHECK")
    command = ["sh", "-c", re.split(r"\sCMD\s", check)[1]]
    with contextlib.suppress(subprocess.TimeoutExpired):
        return run(command, timeout=20, env={**os.environ, "HTTP_PORT": str(port)}).returncode == 0
    return False


def test_it_is_stopped_as_the_service_is():
    unit = text_of("etc/systemd/pgsluice.service")
    assert re.search(r"^KillSignal=(.*)$", unit, re.M)[1] == of_kind(IMAGE, "STOPSIGNAL")[0]
