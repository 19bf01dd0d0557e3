"""Whether servers have the connection slots that pools may ask for: SHOW CAPACITY and --capacity."""

import contextlib

import pytest

from harness.pg import PASSWORD, Postgres
from harness.pooler import in_transaction
from harness.system import eventually, free_port

# A server with few slots: 27 of these are not reserved.
MAX, RESERVED, USABLE = 30, 3, 27

OFTEN = {"capacity_check_interval": "0.2s"}


@pytest.fixture(scope="module")
def small_cluster(cluster):
    pg = Postgres(settings=[f"max_connections = {MAX}", f"superuser_reserved_connections = {RESERVED}"])
    yield pg
    pg.close()


@pytest.fixture
def small(small_cluster):
    small_cluster.clear()
    return small_cluster


@pytest.fixture
def make(make_pooler, small):
    def make_(entry=None, databases=None, **settings):
        databases = databases or {"app": {"user": "app", **(entry or {})}}
        for db in databases.values():
            db.setdefault("host", "127.0.0.1")
            db.setdefault("port", small.port)
        return make_pooler(databases=databases, **{**OFTEN, **settings})
    return make_


def row(pooler):
    [row] = pooler.admin("SHOW CAPACITY")
    return row


def answered(pooler, **expected):
    """The row once it has these values."""
    eventually(lambda: all(row(pooler)[k] == v for k, v in expected.items()) and row(pooler)["checked_at"],
               f"SHOW CAPACITY has {expected}", every=0.02)
    return row(pooler)


# The rule

def test_what_pools_may_ask_for_is_held_against_the_slots_that_are_not_reserved(make, small):
    pooler = make({"pool_size": 10, "reserve_pool_size": 2})
    found = answered(pooler, state="ok")
    assert found["host"] == f"127.0.0.1:{small.port}"
    assert (found["max_connections"], found["reserved"]) == (str(MAX), str(RESERVED))
    assert (found["pools"], found["pools_limit"], found["needed"], found["percent"]) == ("1", "12", "12", "45")
    assert found["advice"] == ""


def test_instances_share_the_server(make):
    pooler = make({"pool_size": 10})
    answered(pooler, state="ok", needed="10")
    pooler.admin_result("SET instances = 3")
    found = answered(pooler, state="over", needed="30", percent="112")
    assert "10 connections of pools times 3 instances may ask for 30 of 27" in found["advice"]
    assert "at most 7" in found["advice"]


@pytest.mark.parametrize("size, state", [(22, "ok"), (23, "warning"), (27, "warning"), (28, "over")])
def test_it_warns_from_85_percent_on(make, size, state):
    assert answered(make({"pool_size": size}), pools_limit=str(size))["state"] == state


def test_bounds_over_pools_count(make):
    pooler = make({"pool_size": 30}, max_server_connections=0)
    answered(pooler, state="over", needed="30")
    pooler.admin_result("SET DATABASE app max_db_connections = 9")
    answered(pooler, state="ok", needed="9")
    pooler.reload(max_server_connections=5)
    answered(pooler, needed="5")


def test_pools_without_a_bound_are_over_whatever_the_server_takes(make):
    found = answered(make({"pool_size": 0}), state="over")
    assert (found["pools_limit"], found["percent"]) == (None, None)
    assert "pool_size = 0" in found["advice"]


def test_a_database_with_a_pool_for_each_user_counts_those_there_are_and_says_so(make):
    pooler = make(databases={"app": {"pool_size": 4}}, auth_user="app")
    found = answered(pooler, state="ok", pools="1", needed="4")
    assert "database app has a pool for each user" in found["advice"]
    with pooler.wire(user="app") as a, pooler.wire(user="other") as b:
        a.query("SELECT 1")
        b.query("SELECT 1")
        answered(pooler, pools="2", needed="8")
    pooler.admin_result("SET DATABASE app max_db_connections = 6")
    assert answered(pooler, needed="6")["advice"] == ""


# The log

def test_the_log_warns_at_the_start_and_at_each_reload(make):
    pooler = make({"pool_size": 28}, capacity_check_interval="100s")
    warning = "capacity over: 28 connections of pools times 1 instance may ask for 28 of 27"
    pooler.wait_log(warning)
    pooler.reload()
    eventually(lambda: pooler.log().count(warning) == 2, "it is said again")


def test_the_log_says_when_a_state_has_changed_and_when_it_is_well_again(make, small):
    pooler = make({"pool_size": 20})
    answered(pooler, state="ok")
    assert "capacity ok" not in pooler.log()
    with direct(small, 8):
        pooler.wait_log("capacity warning: 8 connections of others")
    pooler.wait_log("capacity ok")


def test_a_state_that_stays_is_said_once(make):
    pooler = make({"pool_size": 28})
    first = answered(pooler, state="over")["checked_at"]
    eventually(lambda: row(pooler)["checked_at"] > first, "it was asked again")
    assert pooler.log().count("capacity over") == 1


# Who has the slots

def direct(small, n, **kwargs):
    stack = contextlib.ExitStack()
    for _ in range(n):
        stack.enter_context(small.connect("app", **kwargs))
    return stack


def test_connections_in_use_by_application_name_need_no_privilege(make, small):
    """Those of a superuser, seen by an ordinary user."""
    with direct(small, 2, application_name="nightly dump"):
        pooler = make({"pool_size": 5})
        answered(pooler, in_use="2", in_use_by_pooler="0")
        assert {u["application_name"]: u["connections"] for u in pooler.admin("SHOW CAPACITY_USE")} == {
            "nightly dump": "2"}
        with in_transaction(pooler, 3, application_name="shop"):
            answered(pooler, in_use="5", in_use_by_pooler="3")
            # A connection that is only being made has no name yet: the next answer has all of them.
            eventually(lambda: [(u["application_name"], u["connections"]) for u in pooler.admin("SHOW CAPACITY_USE")] ==
                       [("shop", "3"), ("nightly dump", "2")], "each name has its connections")


def test_others_that_leave_no_room_are_a_warning(make, small):
    pooler = make({"pool_size": 20})
    answered(pooler, state="ok", percent="75")
    with direct(small, 8):
        found = answered(pooler, state="warning")
        assert found["percent"] == "75"
        assert "8 connections of others leave no room for the 20" in found["advice"]
    answered(pooler, state="ok")


def test_the_question_holds_no_slot_afterwards(make, small):
    pooler = make({"pool_size": 5}, capacity_check_interval="100s")
    answered(pooler, state="ok")
    eventually(lambda: small.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgsluice'") == 0,
               "its connection is closed")


def test_a_server_whose_slots_are_all_taken_is_over(make, small):
    pooler = make({"pool_size": 5})
    answered(pooler, state="ok")
    with direct(small, USABLE, user="app"):
        assert "all its slots are taken" in answered(pooler, state="over")["advice"]
    answered(pooler, state="ok")


# As whom it asks

def test_a_password_of_auth_file_is_used(make):
    pooler = make({"user": "plain_user"}, userlist={"plain_user": PASSWORD})
    answered(pooler, max_connections=str(MAX))


def test_without_anybody_to_ask_as_it_is_a_user_of_auth_file(make):
    pooler = make(databases={"app": {}}, userlist={"scram_user": PASSWORD})
    answered(pooler, max_connections=str(MAX))


@pytest.mark.parametrize("entry, userlist, why", [
    ({"user": "scram_user"}, {}, "asks for a password and none is known in the clear"),
    ({"user": "plain_user", "password": "wrong"}, {}, "password authentication failed"),
    ({"user": None}, {}, "nobody is known yet to log in as"),
])
def test_a_server_that_lets_nobody_in_is_unknown_and_says_why(make, entry, userlist, why):
    entry = {k: v for k, v in entry.items() if v is not None}
    pooler = make(databases={"app": entry}, userlist=userlist)
    eventually(lambda: why in (row(pooler)["advice"] or ""), why)
    found = row(pooler)
    assert found["state"] == "unknown"
    assert found["max_connections"] is None and found["checked_at"] is None
    assert pooler.log().count("cannot be asked for its capacity") == 1


def test_the_first_client_lets_it_ask(make):
    pooler = make(databases={"app": {}}, userlist={"app": ""})
    assert row(pooler)["state"] == "unknown"
    with pooler.wire() as w:
        w.query("SELECT 1")
        answered(pooler, state="ok")


def test_what_was_answered_last_stays_while_the_server_is_down(make, small):
    pooler = make({"pool_size": 5})
    answered(pooler, state="ok")
    small.stop()
    try:
        eventually(lambda: "last question failed" in row(pooler)["advice"], "it says that it fails")
        assert row(pooler)["max_connections"] == str(MAX)
    finally:
        small.start()
    eventually(lambda: row(pooler)["advice"] == "", "it is asked again")


def test_an_interval_of_0_never_asks(make, small):
    pooler = make({"pool_size": 28}, capacity_check_interval=0)
    assert row(pooler)["advice"] == "not asked: capacity_check_interval is 0"
    pooler.reload()
    assert row(pooler)["state"] == "unknown"
    assert small.backends() == []


# What pools hold

def test_servers_that_clients_hold_are_counted(make):
    pooler = make({"pool_size": 4})
    with in_transaction(pooler, 3):
        def held():
            [found] = pooler.admin("SHOW CAPACITY_POOLS")
            return found["held_p99"] == "3"
        eventually(held, "a sample is taken")
    [found] = pooler.admin("SHOW CAPACITY_POOLS")
    assert (found["database"], found["user"], found["pool_size"], found["waited"]) == ("app", "app", "4", "0")
    assert 0 < float(found["held_mean"]) <= 3


# Without a running pooler

def check(make, *args, **kwargs):
    pooler = make(*args, start=False, **kwargs)
    return pooler.run("--capacity", pooler.ini)


def test_the_program_reports_without_a_pooler(make, small):
    with direct(small, 2, application_name="dump"):
        done = check(make, {"pool_size": 10})
    assert (done.returncode, done.stderr) == (0, "")
    [head, values, _, use_head, use] = [line.split() for line in done.stdout.splitlines()]
    found = dict(zip(head, values))
    assert (found["state"], found["needed"], found["percent"], found["in_use"]) == ("ok", "10", "38", "2")
    assert found["in_use_by_pooler"] == "-"
    assert dict(zip(use_head, use)) == {"host": f"127.0.0.1:{small.port}", "application_name": "dump",
                                        "connections": "2"}


def test_its_exit_status_tells_a_warning(make):
    done = check(make, {"pool_size": 10}, instances=3)
    assert done.returncode == 1
    assert "10 connections of pools times 3 instances may ask for 30 of 27" in done.stdout


def test_its_exit_status_tells_a_server_that_cannot_be_asked(make):
    done = check(make, {"port": free_port()})
    assert done.returncode == 2
    assert "unknown" in done.stdout and "cannot be asked: " in done.stdout


def test_its_exit_status_tells_a_configuration_that_cannot_be_read(make):
    done = check(make, instances=0)
    assert done.returncode == 2
    assert "instances" in done.stderr


def test_it_asks_the_hosts_of_the_template_too(make):
    done = check(make, databases={"*": {"pool_size": 28}}, auth_user="app")
    assert done.returncode == 1
    assert " over " in done.stdout
