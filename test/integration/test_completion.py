"""Help that fits a screen, and bash's completion, which takes from it and from --settings what there is."""

import os
import re

import pytest

from harness.pooler import PROGRAM, is_pgbouncer
from harness.system import run

TOP = os.path.join(os.path.dirname(__file__), "../..")
COMPLETIONS = os.path.join(TOP, "etc/completion")
MKAUTH = os.path.join(os.path.dirname(PROGRAM), "pgsluice-mkauth")

pytestmark = pytest.mark.skipif(is_pgbouncer(), reason="about our program")


def said(*command, **kwargs):
    done = run(command, **kwargs)
    assert (done.returncode, done.stderr) == (0, ""), command
    return done.stdout


def complete(*words, file="pgsluice", cwd=TOP):
    """What bash offers behind these words, the last of which is being typed; it calls the function so."""
    script = """
        . "$1" && shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        spec=$(complete -p "${1##*/}") || exit
        function=${spec##*-F }
        "${function%% *}" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    return said("bash", "-c", script, "bash", os.path.join(os.path.abspath(COMPLETIONS), file), *words,
                cwd=cwd).split()


def settings_of_the_source():
    with open(os.path.join(TOP, "src/conf/settings.def")) as f:
        return re.findall(r"^X\((\w+)", f.read(), re.M)


@pytest.mark.parametrize("command", [[PROGRAM], [PROGRAM, "top"], [MKAUTH]], ids=["pgsluice", "top", "mkauth"])
def test_the_help_fits_one_screen(command):
    lines = said(*command, "--help").replace(PROGRAM, "pgsluice").splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_every_setting_is_listed_with_its_default():
    lines = said(PROGRAM, "--settings").splitlines()
    assert sorted(line.split(" = ")[0] for line in lines) == sorted(settings_of_the_source())
    assert "max_client_conn = 100" in lines


def test_what_is_listed_is_a_configuration_of_defaults(tmp_path):
    """Each value is taken from where it is written."""
    ini = tmp_path / "defaults.ini"
    ini.write_text("[pgsluice]\n" + said(PROGRAM, "--settings"))
    done = run([PROGRAM, "--check", str(ini)])
    assert done.returncode == 0, done.stderr


def test_options_are_those_of_the_help():
    offered = complete(PROGRAM, "-")
    assert {"-c", "-d", "-R", "--takeover", "--reboot", "--check", "--user=", "--version"} <= set(offered)
    for option in offered:
        assert option in said(PROGRAM, "--help")
    assert complete(PROGRAM, "--ch") == ["--check"]


def test_top_has_options_of_its_own():
    assert "--interval=" in complete(PROGRAM, "top", "--i")
    assert "--interval=" not in complete(PROGRAM, "--i")
    assert complete(PROGRAM, "to") == ["top"]


def test_behind_c_are_the_settings():
    assert sorted(complete(PROGRAM, "-c", "")) == sorted(name + "=" for name in settings_of_the_source())
    assert complete(PROGRAM, "-c", "max_client_c") == ["max_client_conn="]


def test_behind_u_are_the_users():
    assert complete(PROGRAM, "-u", "roo") == ["root"]


def test_the_file_may_be_any(tmp_path):
    (tmp_path / "topics.ini").touch()
    assert sorted(complete(PROGRAM, "to", cwd=tmp_path)) == ["top", "topics.ini"]
    # Nothing offered: bash has its files.
    assert complete(PROGRAM, "-d", "to", cwd=tmp_path) == []


def test_mkauth_is_completed_from_a_file_of_its_name():
    assert complete(MKAUTH, "--m", file="pgsluice-mkauth") == ["--method="]
    assert complete(MKAUTH, "to", file="pgsluice-mkauth") == []
    # Of this one -u takes a role.
    assert complete(MKAUTH, "-u", "roo", file="pgsluice-mkauth") == []
