"""The log cannot be written: the pooler goes on, and says so as soon as it can."""

import contextlib
import json
import os

import pytest

from harness.system import account, give_away, run

FAILS, AGAIN = "logfile cannot be written to, lines are lost: ", "logfile is written to again, lines lost before: "


def logging_to(pooler, path):
    """Lines go there and, as always, to the file that its standard error is."""
    pooler.settings["logfile"] = path
    pooler.write()
    return pooler.start()


def use(pooler, n=1):
    """Each leaves lines in the log."""
    for i in range(n):
        with pooler.wire() as w:
            assert w.value(f"SELECT 'used {i}'") == f"used {i}"


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with room for 64 KiB; its directory."""
    if os.getuid() != 0:
        pytest.skip("only root may mount a file system")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = run(["mount", "-t", "tmpfs", "-o", f"size=64k,mode=0755,uid={account().pw_uid}", "tmpfs", str(place)])
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    for each in (place, *place.parents):
        if each.stat().st_uid == 0 and each != place:
            each.chmod(each.stat().st_mode | 0o055)
    yield place
    run(["umount", "-l", str(place)])


def fill(disk):
    """Another's file takes all that is left; its path."""
    path = disk / "filler"
    with open(path, "wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(b"x" * 512)
    return path


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_full_disk_stops_nobody_and_is_told_when_there_is_room_again(make_pooler, small_disk, log_format):
    path = small_disk / "log"
    pooler = logging_to(make_pooler(start=False, log_format=log_format), path)
    use(pooler)
    assert "login attempt" in read(path)
    filler = fill(small_disk)
    # What was left of the last page that the file had is taken.
    use(pooler, 50)
    # Who reads another of the log's places hears of it at once, and of it once.
    assert pooler.log().count(FAILS + "No space left on device") == 1
    assert AGAIN not in read(path)
    filler.unlink()
    use(pooler)
    pooler.stop()
    lines = read(path).splitlines()
    [told] = [line for line in lines if AGAIN in line]
    lost = json.loads(told)["lost"] if log_format == "json" else int(told.rpartition(": ")[2])
    # The line that was cut, if one was, is the only one that is not whole, and runs into no other.
    assert len(set(lines) - set(pooler.log().splitlines())) <= 1
    assert len(set(pooler.log().splitlines()) - set(lines)) == lost > 0


def test_a_log_that_never_has_room_is_told_of_once(make_pooler):
    pooler = logging_to(make_pooler(start=False), "/dev/full")
    use(pooler, 10)
    assert pooler.reload().error is None
    use(pooler)
    assert pooler.log().count(FAILS) == 1


def test_standard_error_that_nobody_reads_any_more_is_told_in_the_file(make_pooler):
    pooler = make_pooler(start=False)
    path, pipe = (os.path.join(pooler.directory, name) for name in ("lines", "pipe"))
    os.mkfifo(pipe)
    give_away(pipe)
    reader = os.open(pipe, os.O_RDWR)
    pooler.settings["logfile"] = path
    pooler.write()
    pooler.run_under("sh", "-c", f'exec "$@" 2>{pipe}', "sh")
    pooler.start()
    os.close(reader)
    use(pooler, 10)
    assert read(path).count("standard error cannot be written to, lines are lost: Broken pipe") == 1
    assert read(path).count("login attempt") >= 10


@pytest.mark.parametrize("which", ["standard error", "logfile"])
def test_a_pipe_that_is_not_read_holds_nobody_up(make_pooler, which):
    """What was lost is told when it is read again."""
    pooler = make_pooler(start=False)
    path, pipe = (os.path.join(pooler.directory, name) for name in ("lines", "pipe"))
    os.mkfifo(pipe)
    give_away(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        pooler.settings["logfile"] = pipe if which == "logfile" else path
        pooler.write()
        if which != "logfile":
            pooler.run_under("sh", "-c", f'exec "$@" 2>{pipe}', "sh")
        pooler.start()
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(reader, b"x" * 4096)
        use(pooler, 3)
        where = read(path) if which != "logfile" else pooler.log()
        assert where.count(f"{which} cannot be written to, lines are lost: ") == 1
        with contextlib.suppress(BlockingIOError):
            while os.read(reader, 65536):
                pass
        use(pooler)
        assert f"{which} is written to again, lines lost before: ".encode() in os.read(reader, 65536)
    finally:
        pooler.stop()
        os.close(reader)


# The file goes, or cannot be opened anew

def test_a_log_file_that_is_removed_is_there_again_after_a_reload(make_pooler):
    pooler = make_pooler(start=False)
    path = os.path.join(pooler.directory, "lines")
    logging_to(pooler, path)
    os.unlink(path)
    use(pooler)
    pooler.hang_up()
    use(pooler)
    assert "login attempt" in read(path)


@pytest.mark.parametrize("way", ["RELOAD", "SIGHUP"])
def test_a_log_that_cannot_be_opened_anew_refuses_the_reload_and_goes_on_as_before(make_pooler, way):
    """It is told where lines still go, and to whoever has asked."""
    pooler = make_pooler(start=False)
    place = os.path.join(pooler.directory, "place")
    os.mkdir(place)
    give_away(place)
    path = os.path.join(place, "lines")
    logging_to(pooler, path)
    moved = place + "-moved"
    os.rename(place, moved)
    if way == "RELOAD":
        result = pooler.reload(default_pool_size=7)
        assert "logfile" in result.error["M"] + result.error.get("D", ""), result.error
    else:
        pooler.hang_up(default_pool_size=7)
    kept = os.path.join(moved, "lines")
    assert f"logfile {path}: No such file or directory" in read(kept)
    assert "the former configuration stays in force" in read(kept)
    assert pooler.config("default_pool_size") != "7"
    use(pooler)
    assert read(kept).count("login attempt") >= 1
    os.rename(moved, place)
    assert pooler.reload().error is None
    assert pooler.config("default_pool_size") == "7"
