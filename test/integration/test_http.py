"""The HTTP endpoint: who is told what, and that nobody who asks or does not read keeps a query waiting."""

import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import threading
import time

import pytest

from harness.http import Http, basic, trusting
from harness.metrics import assert_promtool_is_content, of, samples
from harness.pg import PASSWORD
from harness.pooler import Pooler, in_transaction, is_pgbouncer
from harness.system import eventually, free_port
from harness.wire import Wire, query

if is_pgbouncer():
    pytest.skip("PgBouncer has no HTTP", allow_module_level=True)

SECRETS = {"admin": "all of it", "stats": "look only", "app": "neither"}


@pytest.fixture
def make(make_pooler):
    """A pooler that answers HTTP on pooler.http_port."""
    def make_one(**settings):
        port = free_port()
        settings.setdefault("http_listen_addr", "127.0.0.1")
        pooler = make_pooler(**{"http_port": port, "userlist": dict(SECRETS), **settings})
        pooler.http_port = port
        return pooler
    return make_one


@pytest.fixture(scope="module")
def shared(cluster):
    """For tests that leave it as it was."""
    pooler = Pooler(cluster, start=False, userlist=dict(SECRETS), http_listen_addr="127.0.0.1", http_port=free_port(),
                    max_client_conn=1000)
    pooler.http_port = pooler.settings["http_port"]
    try:
        yield pooler.start()
    finally:
        pooler.close()


@pytest.fixture
def web(shared):
    with Http(shared.http_port) as h:
        yield h


def as_admin(pooler):
    return Http(pooler.http_port, login=("admin", SECRETS["admin"]))


# Health

def test_a_pooler_that_serves_is_live_and_ready(web):
    assert web.text("/livez") == "ok\n"
    assert web.text("/readyz") == "ok\n"
    health = web.json("/api/health")
    assert (health["status"], health["reason"]) == ("ok", None)


def test_health_counts_what_there_is(make):
    pooler = make(default_pool_size=1)
    with Http(pooler.http_port) as web, pooler.wire() as busy, pooler.wire() as waiting:
        busy.query("BEGIN")
        waiting.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=1)
        health = web.json("/api/health")
        assert (health["clients"], health["waiting"], health["servers"]) == (2, 1, 1)
        assert (health["pools"], health["hosts"], health["hosts_down"]) == (1, 1, 0)
        assert health["longest_wait_us"] > 0
        busy.query("COMMIT")
        assert waiting.result().error is None


def test_a_pooler_that_is_paused_or_suspended_is_live_but_not_ready(make):
    pooler = make()
    with Http(pooler.http_port) as web, Wire(pooler.unix_socket).login("admin", "pgbouncer") as console:
        for command, reason in (("PAUSE", "paused\n"), ("SUSPEND", "suspended\n")):
            assert console.query(command).error is None
            assert web.text("/readyz", 503) == reason
            assert web.text("/livez") == "ok\n"
            assert web.json("/api/health")["reason"] == reason.strip()
            console.query("RESUME")
            assert web.text("/readyz") == "ok\n"


def test_a_pooler_that_drains_answers_until_its_end(make):
    pooler = make(shutdown_mode="drain", shutdown_delay=0, shutdown_deadline=3000)
    with pooler.wire() as client, Http(pooler.http_port) as web:
        client.query("BEGIN")
        assert pooler.admin_result("SHUTDOWN DRAIN").error is None
        assert web.text("/readyz", 503) == "draining\n"
        assert web.text("/livez") == "ok\n"
        assert "pgbouncer_up 1" in web.text("/metrics")
        client.query("COMMIT")
    assert pooler.wait_exit() == 0


def test_a_pooler_that_waits_for_its_clients_is_not_ready(make):
    pooler = make()
    with pooler.wire(), Http(pooler.http_port) as web:
        assert pooler.admin_result("SHUTDOWN WAIT_FOR_CLIENTS").error is None
        assert web.text("/readyz", 503) == "shutting down\n"
    assert pooler.wait_exit() == 0


@pytest.mark.parametrize("command, fault", [("PAUSE", "is paused"), ("DISABLE", "is disabled")])
def test_a_required_database_has_to_be_at_work(make, command, fault):
    pooler = make(databases={"app": {"required": 1}, "other": {}})
    with Http(pooler.http_port) as web:
        pooler.admin(f"{command} other")
        assert web.text("/readyz") == "ok\n"
        pooler.admin(f"{command} app")
        assert web.text("/readyz", 503) == f"required database app {fault}\n"


def test_a_required_database_has_to_have_a_host_that_is_up(make):
    gone = {"host": "127.0.0.1", "port": free_port()}
    pooler = make(databases={"app": {"required": 1, "min_pool_size": 1, "user": "app"}, "other": gone},
                  breaker_failures=1, server_login_retry=3000)
    with Http(pooler.http_port) as web:
        assert pooler.attempt(database="other") is not None
        eventually(lambda: web.json("/api/health")["hosts_down"] == 1, "the other host is down")
        assert web.text("/readyz") == "ok\n"
        pooler.databases["app"] = {**gone, "required": 1}
        assert pooler.reload().error is None
        eventually(lambda: web.get("/readyz").status == 503, "the required host is down")
        assert web.text("/readyz", 503) == "required database app has no host that is up\n"
        pooler.reload(database_required=0)
        pooler.databases["app"] = gone
        assert pooler.reload().error is None
        assert web.text("/readyz") == "ok\n"


# Figures

def test_metrics_are_what_prometheus_reads(shared, web):
    with shared.connect() as c:
        c.execute("SELECT 1")
    answer = web.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert_promtool_is_content(answer.body.decode())


def test_metrics_say_what_the_console_says(make):
    pooler = make(default_pool_size=2)
    with Http(pooler.http_port) as web, in_transaction(pooler, 2), pooler.wire() as waiting:
        waiting.send_raw(query("SELECT 1"))
        pooler.wait_pool(cl_waiting=1, sv_active=2)
        metrics = samples(web.text("/metrics"))
        stats = {row["database"]: row for row in pooler.admin("SHOW STATS_TOTALS")}["app"]
        pool = {"database": "app", "user": "app"}
        assert of(metrics, "pgbouncer_pools_client_active_connections", **pool) == 2
        assert of(metrics, "pgbouncer_pools_client_waiting_connections", **pool) == 1
        assert of(metrics, "pgbouncer_pools_server_active_connections", **pool) == 2
        assert of(metrics, "pgbouncer_databases_pool_size", name="app", host="127.0.0.1", port=str(pooler.pg.port),
                  database="app", force_user="", pool_mode="") == 2
        assert of(metrics, "pgbouncer_config_max_client_connections") == float(pooler.config("max_client_conn"))
        assert of(metrics, "pgbouncer_stats_queries_pooled_total", database="app") == float(stats["query_count"])
        assert of(metrics, "pgbouncer_stats_queries_duration_seconds_total",
                  database="app") == pytest.approx(int(stats["query_time"]) / 1e6)
        assert of(metrics, "pgsluice_host_up", address=f"127.0.0.1:{pooler.pg.port}") == 1
        version = pooler.admin("SHOW VERSION")[0]["version"]
        assert of(metrics, "pgbouncer_version_info", version=version) == 1


def test_the_process_is_told_of_as_of_any_other(shared, web):
    metrics = samples(web.text("/metrics"))
    assert of(metrics, "process_resident_memory_bytes") == pytest.approx(shared.rss(), rel=0.5)
    assert 0 < of(metrics, "process_start_time_seconds") <= time.time()
    assert 0 < of(metrics, "process_cpu_seconds_total") <= shared.cpu() + 1
    open_fds = len(os.listdir(f"/proc/{shared.pid}/fd"))
    assert abs(of(metrics, "process_open_fds") - open_fds) <= 3
    with contextlib.ExitStack() as stack:
        for _ in range(600):
            stack.enter_context(socket.create_connection(("127.0.0.1", shared.port)))
        eventually(lambda: of(samples(web.text("/metrics")), "process_open_fds") >= open_fds + 600, "all are counted")


def test_clients_are_counted_by_what_they_have_in_common(make):
    pooler = make(max_client_conn=1000)

    def count(web):
        return {dict(labels)["application_name"]: value for labels, value in
                samples(web.text("/metrics"))["pgbouncer_client_connections"].items()
                if dict(labels)["database"] == "app"}

    with contextlib.ExitStack() as stack, Http(pooler.http_port) as web:
        for name in ["shop", "mail", "shop", "shop"]:
            stack.enter_context(pooler.wire(application_name=name))
        assert count(web) == {"shop": 3, "mail": 1}
        for i in range(400):
            stack.enter_context(pooler.wire(application_name=f"random {i}"))
        found = count(web)
        assert sum(found.values()) == 404
        assert len(found) <= 201 and found["other"] >= 200


def test_pools_tell_how_well_they_do(make):
    pooler = make(default_pool_size=2, stats_applications=5)
    with pooler.wire(application_name="shop") as w, Http(pooler.http_port) as web:
        for _ in range(3):
            w.query("SELECT pg_sleep(0.02)")
        metrics, pool = samples(web.text("/metrics")), {"database": "app", "user": "app"}
        row = next(row for row in pooler.admin("SHOW POOL_STATS") if row["database"] == "app")
        assert of(metrics, "pgsluice_pool_limit", **pool) == 2
        assert of(metrics, "pgsluice_pool_hits_total", **pool) == float(row["hits"])
        assert of(metrics, "pgsluice_pool_servers_created_total", **pool) == 1
        assert of(metrics, "pgsluice_pool_reuse_ratio", **pool) == float(row["reuse_ratio"])
        assert of(metrics, "pgsluice_application_queries_total", application_name="shop") == 3
        assert of(metrics, "pgsluice_application_clients", application_name="shop") == 1


def test_times_are_told_as_histograms(make):
    pooler = make()
    with pooler.wire() as w, Http(pooler.http_port) as web:
        for _ in range(5):
            w.query("SELECT pg_sleep(0.02)")
        text = web.text("/metrics")
        metrics, pool = samples(text), {"database": "app", "user": "app"}
        below = {dict(labels)["le"]: value for labels, value in metrics["pgsluice_query_seconds_bucket"].items()}
        assert list(below)[-1] == "+Inf" and sorted(below.values()) == list(below.values())
        assert below["0.008192"] == 0
        assert below["+Inf"] == of(metrics, "pgsluice_query_seconds_count", **pool) == 5
        assert of(metrics, "pgsluice_query_seconds_sum", **pool) >= 0.1
        assert of(metrics, "pgsluice_login_seconds_count", **pool) == 1
        assert_promtool_is_content(text)


def test_labels_are_escaped(make):
    name = 'we"ird\\name é'
    pooler = make(userlist={name: ""})
    assert pooler.attempt(user=name) is not None
    with Http(pooler.http_port) as web:
        assert name in {dict(labels)["user"] for labels in
                        samples(web.text("/metrics"))["pgbouncer_pools_client_active_connections"]}
        assert name in {row["user"] for row in web.json("/api/pools")}


def test_every_table_of_the_console_is_there_as_json(shared):
    with as_admin(shared) as web:
        names = web.json("/api/tables")
        assert {"CONFIG", "POOLS", "CLIENTS", "HOSTS", "FDS"} <= set(names)
        for name in names:
            table = web.json(f"/api/tables/{name.lower()}")
            assert table["name"] == name
            assert all(len(row) == len(table["columns"]) for row in table["rows"])


def test_a_table_has_the_cells_of_the_console(shared, web):
    table = web.json("/api/tables/config")
    keys = [column["name"] for column in table["columns"]]
    assert [dict(zip(keys, row)) for row in table["rows"]] == shared.admin("SHOW CONFIG")
    table = web.json("/api/tables/databases")
    types = {column["name"]: column["type"] for column in table["columns"]}
    assert (types["name"], types["pool_size"]) == ("text", "integer")
    app = dict(zip([column["name"] for column in table["columns"]], table["rows"][0]))
    assert (app["name"], app["pool_size"], app["force_user"]) == ("app", 20, None)


def test_times_are_in_utc(shared, web):
    with shared.wire():
        table = web.json("/api/tables/clients")
        column = [c["name"] for c in table["columns"]].index("connect_time")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", table["rows"][0][column])


def test_secrets_are_not_told(make):
    pooler = make(auth_ldap_options="ldapserver=localhost ldapbasedn=dc=x ldapbinddn=cn=x ldapbindpasswd=birdsong")
    with as_admin(pooler) as web:
        for name in web.json("/api/tables"):
            body = web.text(f"/api/tables/{name}")
            assert "birdsong" not in body and SECRETS["admin"] not in body


@pytest.mark.parametrize("path", ["/metrics", "/api/tables/clients"])
def test_thousands_of_rows_come_in_pieces_and_all(make, path):
    pooler = make(max_client_conn=2000)
    with contextlib.ExitStack() as stack, Http(pooler.http_port) as web:
        for _ in range(1000):
            stack.enter_context(pooler.wire())
        if path == "/metrics":
            metrics = samples(web.text(path))
            assert of(metrics, "pgbouncer_pools_client_active_connections", database="app", user="app") == 1000
        else:
            rows = web.json(path)["rows"]
            assert sum(row[2] == "app" for row in rows) == 1000


# The page and the protocol

def test_the_page_needs_nothing_from_elsewhere_and_may_not_either(web):
    answer = web.get("/")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.search(rb'(src|href)="(?!#|data:|/(?!/))', answer.body)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("'sha256-") == answer.body.count(b"<script>") + answer.body.count(b"<style>")


@pytest.mark.parametrize("path", ["/", "/livez", "/metrics", "/api/tables/pools", "/api/nothing"])
def test_no_answer_is_kept_framed_or_guessed_at(web, path):
    headers = web.get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/tables/nothing", "/api/tables/", "//", "/livez/",
                                  "/api/tables/po%00ls"])
def test_what_is_not_there_is_not_found(web, path):
    assert web.json(path, 404)["error"]


def test_a_path_has_its_methods_only(web):
    for method, path, allowed in (("POST", "/metrics", "GET, HEAD"), ("DELETE", "/", "GET, HEAD"),
                                  ("OPTIONS", "/api/pools", "GET, HEAD")):
        answer = web.ask(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)


def test_one_connection_serves_many_requests(web):
    for _ in range(3):
        assert web.get("/livez").headers.get("Connection") != "close"
        assert web.get("/metrics").headers.get("Connection") != "close"
        assert web.ask("HEAD", "/livez").body == b""


def test_head_is_get_without_the_body(shared, web):
    for path in ("/livez", "/metrics", "/"):
        head, get = ask_raw(shared.http_port, f"HEAD {path} HTTP/1.0\r\n\r\n".encode()), web.get(path)
        assert b" 200 " in head.splitlines()[0]
        assert f"Content-Type: {get.headers['Content-Type']}".encode() in head
    assert web.ask("HEAD", "/metrics").status == web.get("/livez").status == 200


def ask_raw(port, request):
    """All that comes until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), 30) as s:
        s.sendall(request)
        got = b""
        while data := s.recv(65536):
            got += data
        return got


def test_http_1_0_is_understood(shared):
    answer = ask_raw(shared.http_port, b"GET /metrics HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.") and b" 200 " in answer.splitlines()[0]
    assert b"pgbouncer_up 1\n" in answer and b"pgsluice_memory_bytes" in answer


@pytest.mark.parametrize("request_", [
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100000 + b"\r\n\r\n",
    b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(200) + b"\r\n\r\n",
    b"GET /\r\n\r\n" * 10,
    b"POST /api/commands HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /api/commands HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
], ids=["header", "path", "tls", "0.9", "length", "chunk"])
def test_what_is_no_request_is_refused_and_harms_nobody(shared, web, request_):
    with contextlib.suppress(ConnectionError):
        answer = ask_raw(shared.http_port, request_)
        assert b" 200 " not in answer.partition(b"\r\n")[0]
    assert web.text("/livez") == "ok\n"


# Who may

def test_whoever_comes_from_this_machine_may_look(web):
    assert web.json("/api/session") == {"user": None, "access": "look", "csrf_token": None}
    assert web.get("/").status == 200


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "evil.example:9127"}, {"Host": "10.0.0.1"},
    {"X_Forwarded_For": "10.0.0.1"}, {"Forwarded": "for=10.0.0.1"}, {"Via": "1.1 proxy"},
], ids=lambda h: next(iter(h)))
def test_a_stranger_s_name_for_this_machine_and_a_proxy_are_not_this_machine(shared, headers):
    with Http(shared.http_port) as web:
        answer = web.get("/metrics", **headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert web.get("/livez", **headers).status == 200
        assert web.get("/readyz", **headers).status == 200
        assert web.get("/metrics", **headers, **basic("stats", SECRETS["stats"])).status == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9127", "127.0.0.1", "127.1.2.3:1", "[::1]:9127"])
def test_this_machine_has_several_names(web, host):
    assert web.get("/metrics", Host=host).status == 200


def test_http_allow_anonymous_lets_anybody_look_and_do_nothing(make):
    pooler = make(http_allow_anonymous=1)
    with Http(pooler.http_port) as web:
        assert web.get("/metrics", Host="evil.example").status == 200
        assert web.ask("POST", "/api/commands", "{}", Host="evil.example").status == 401
        assert pooler.reload(http_allow_anonymous=0).error is None
        assert web.get("/metrics", Host="evil.example").status == 401


def test_names_of_databases_are_not_for_strangers(make):
    pooler = make(databases={"app": {"required": 1}})
    pooler.admin("PAUSE app")
    with Http(pooler.http_port) as web:
        assert web.text("/readyz", 503, Host="evil.example") == "a required database is paused\n"


@pytest.mark.parametrize("kind", ["plain", "md5", "scram"])
def test_a_login_is_checked_against_any_kind_of_secret(make, pg, kind):
    user, password = f"{kind}_user", PASSWORD
    secret = password if kind == "plain" else pg.secret(user)
    pooler = make(userlist={user: secret}, stats_users=user)
    for _ in range(2):
        with Http(pooler.http_port, login=(user, password)) as web:
            assert web.json("/api/session")["user"] == user
    for wrong in (password + "x", "", secret if kind != "plain" else "x"):
        with Http(pooler.http_port, login=(user, wrong)) as web:
            assert web.get("/metrics").status == 401


def test_who_may_not_look_is_refused_even_from_this_machine(shared):
    for login in (("admin", "wrong"), ("nobody", "at all"), ("app", SECRETS["app"]), ("admin", ""), ("", "")):
        with Http(shared.http_port, login=login) as web:
            answer = web.get("/metrics")
            assert answer.status == 401
            assert "user" not in json.loads(answer.body)
            assert web.get("/livez").status == 200


def test_a_user_without_a_secret_cannot_log_in(make):
    pooler = make(userlist={"stats": "", "admin": ""})
    for user in ("stats", "admin"):
        with Http(pooler.http_port, login=(user, "")) as web:
            assert web.get("/metrics").status == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic " + "A" * 4000, "Bearer x", "Basic Og==",
                                    "Basic YWRtaW4="])
def test_a_header_that_is_no_login_lets_nobody_in(shared, header):
    with Http(shared.http_port) as web:
        assert web.get("/metrics", Authorization=header).status == 401


def test_a_login_holds_until_its_secret_changes(make):
    pooler = make()
    with as_admin(pooler) as web:
        assert web.json("/api/session")["access"] == "admin"
        pooler.hang_up(admin_users="somebody", stats_users="admin,stats")
        assert web.json("/api/session")["access"] == "look"
    with Http(pooler.http_port, login=("stats", SECRETS["stats"])) as web:
        assert web.get("/metrics").status == 200
    pooler.userlist["stats"] = "another"
    pooler.hang_up()
    with Http(pooler.http_port, login=("stats", SECRETS["stats"])) as web:
        assert web.get("/metrics").status == 401
    with Http(pooler.http_port, login=("stats", "another")) as web:
        assert web.get("/metrics").status == 200


def test_a_visitor_who_may_look_is_asked_who_he_is_where_he_wants_to_log_in(shared, web):
    answer = web.get("/login")
    assert answer.status == 401 and answer.headers["WWW-Authenticate"].startswith("Basic ")
    with as_admin(shared) as known:
        answer = known.get("/login")
    assert (answer.status, answer.headers["Location"]) == (303, "/")


def test_what_is_for_admins_is_not_for_those_who_look(shared):
    with Http(shared.http_port, login=("stats", SECRETS["stats"])) as web:
        assert web.json("/api/session")["csrf_token"] is None
        assert "FDS" not in web.json("/api/tables")
        assert web.get("/api/tables/fds").status == 403
        assert web.ask("POST", "/api/commands", "{}").status == 403


def test_guessing_passwords_stalls_no_query(make, pg):
    """Each guess at a SCRAM secret costs a millisecond or two; forty who guess do not add up."""
    pooler = make(userlist={"scram_user": pg.secret("scram_user"), "app": ""}, stats_users="scram_user")
    codes, stop = [], threading.Event()

    def guess(n):
        i = 0
        while not stop.is_set():
            with Http(pooler.http_port, login=("scram_user", f"{n}.{i}")) as web:
                codes.append(web.get("/metrics").status)
            i += 1

    threads = [threading.Thread(target=guess, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    with pooler.wire() as w:
        before = pooler.cpu()
        begun = time.monotonic()
        for _ in range(300):
            assert w.value("SELECT 1") == "1"
        eventually(lambda: len(codes) >= 20, "they have had answers")
        spent, passed = pooler.cpu() - before, time.monotonic() - begun
    stop.set()
    for thread in threads:
        thread.join()
    assert set(codes) == {401}
    # Twenty in a second, however many ask: without that, guesses were as many as fit.
    assert len(codes) <= 20 * (passed + 2) + 40, (spent, passed)


def test_the_answer_to_a_failed_login_is_held_back(make):
    pooler = make(auth_failure_delay=60)
    with Http(pooler.http_port, login=("admin", "wrong")) as slow, as_admin(pooler) as web:
        slow.connection.putrequest("GET", "/metrics")
        for name, value in slow.login.items():
            slow.connection.putheader(name, value)
        slow.connection.endheaders()
        assert web.json("/api/session")["access"] == "admin"
        slow.connection.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            slow.connection.sock.recv(1)


# Commands

def test_an_admin_pauses_and_resumes(make):
    pooler = make()
    with as_admin(pooler) as web, pooler.wire() as w:
        assert web.json("/api/session")["access"] == "admin"
        w.query("BEGIN")
        assert web.command("PAUSE app") == (202, {"result": "begun"})
        assert pooler.admin("SHOW DATABASES")[0]["paused"] == "1"
        assert web.command("RESUME app") == (200, {"result": "done"})
        assert pooler.admin("SHOW DATABASES")[0]["paused"] == "0"
        assert web.command("pause;") == (202, {"result": "begun"})
        assert web.text("/readyz", 503) == "paused\n"
        assert web.command("RESUME")[0] == 200
    assert re.search(r"LOG http admin@127\.0\.0\.1:\d+: PAUSE 'app' command issued", pooler.log())


def test_a_pause_given_over_http_stays_when_its_giver_leaves(make):
    pooler = make()
    with pooler.wire() as w:
        w.query("BEGIN")
        with as_admin(pooler) as web:
            assert web.command("PAUSE app")[0] == 202
        pooler.admin("SHOW STATE")
        assert pooler.admin("SHOW DATABASES")[0]["paused"] == "1"


def test_an_admin_reconnects_and_reloads(make):
    pooler = make()
    with as_admin(pooler) as web, pooler.wire() as w:
        backend = w.value("SELECT pg_backend_pid()")
        assert web.command("RECONNECT app") == (200, {"result": "done"})
        eventually(lambda: w.value("SELECT pg_backend_pid()") != backend, "another server")
        pooler.settings["default_pool_size"] = 7
        pooler.write()
        assert web.command("RELOAD") == (200, {"result": "done"})
        assert pooler.config("default_pool_size") == "7"


def test_a_command_that_fails_says_why(make):
    pooler = make()
    with as_admin(pooler) as web:
        status, answer = web.command("PAUSE nothing")
        assert (status, answer) == (409, {"error": "no such database: nothing", "sqlstate": "3D000"})
        assert web.command("RESUME")[1]["sqlstate"] == "55000"
        pooler.settings["pool_mode"] = "nonsense"
        pooler.write()
        status, answer = web.command("RELOAD")
        assert (status, answer["sqlstate"]) == (409, "F0000")
        assert "pool_mode" in answer["error"]


@pytest.mark.parametrize("command", [
    "SHUTDOWN", "KILL", "SET verbose = 1", "SHOW POOLS", "SUSPEND", "TAKEOVER DONE", "", "DISABLE app", "RELOAD now",
    "PAUSE a b c", "x" * 3000, "\u0000", "PAUSE\u0000app",
])
def test_only_four_commands_can_be_given(shared, command):
    with as_admin(shared) as web:
        status, answer = web.command(command)
        assert status in (400, 409) and answer["error"]
        assert shared.alive() and web.text("/readyz") == "ok\n"


@pytest.mark.parametrize("headers", [
    {"X_CSRF_Token": None}, {"X_CSRF_Token": "0" * 64}, {"Origin": "http://evil.example"}, {"Origin": "null"},
    {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Content_Type": "text/plain"},
    {"Content_Type": None},
], ids=lambda h: "-".join(map(str, next(iter(h.items())))))
def test_what_another_page_has_a_browser_send_is_refused(shared, headers):
    with as_admin(shared) as web:
        assert web.command("PAUSE", **headers)[0] == 403
        assert web.text("/readyz") == "ok\n"


def test_what_our_own_page_sends_is_taken(shared):
    with as_admin(shared) as web:
        own = {"Origin": f"http://127.0.0.1:{shared.http_port}", "Sec_Fetch_Site": "same-origin",
               "Content_Type": "application/json; charset=utf-8"}
        assert web.command("RELOAD", **own) == (200, {"result": "done"})


def test_a_token_is_one_user_s_and_one_process_s(make):
    one, other = make(admin_users="admin,app"), make(admin_users="admin,app")

    def token(pooler, user):
        with Http(pooler.http_port, login=(user, SECRETS[user])) as web:
            return web.json("/api/session")["csrf_token"]

    tokens = [token(pooler, user) for pooler in (one, other) for user in ("admin", "app")]
    assert len(set(tokens)) == 4 and token(one, "admin") == tokens[0]
    with as_admin(one) as web:
        for wrong in tokens[1:]:
            assert web.command("RELOAD", X_CSRF_Token=wrong)[0] == 403


def test_commands_are_for_admins(shared):
    with Http(shared.http_port) as web:
        assert web.ask("POST", "/api/commands", '{"command": "PAUSE"}', Content_Type="application/json").status == 401
    with as_admin(shared) as web:
        assert web.get("/api/commands").status == 405


@pytest.mark.parametrize("body", [
    b"", b"{}", b"PAUSE", b'{"command": 1}', b'{"command": "RELOAD"', b'{"command": "RELOAD"} x',
    b'{"command": "RELOAD", "command": "PAUSE"}', b'{"command": "\\ud800"}', b'["RELOAD"]', b'{"command": "\\u00"}',
    b'{"command": "\n"}', b'{"kommand": "RELOAD"}',
])
def test_a_body_that_is_no_command_is_refused(shared, body):
    with as_admin(shared) as web:
        token = web.json("/api/session")["csrf_token"]
        answer = web.ask("POST", "/api/commands", body, Content_Type="application/json", X_CSRF_Token=token)
        assert answer.status == 400


def test_a_body_that_is_too_long_is_refused(shared):
    with as_admin(shared) as web:
        assert web.ask("POST", "/api/commands", b"x" * 100000, Content_Type="application/json").status == 413
        assert web.text("/livez") == "ok\n"


# Those who are slow, and those who are many

def test_there_are_at_most_http_max_connections_and_the_next_wait(make):
    pooler = make(http_max_connections=2)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(Http(pooler.http_port)) for _ in range(2)]
        for web in held:
            assert web.text("/livez") == "ok\n"
        third = stack.enter_context(Http(pooler.http_port))
        third.connection.request("GET", "/livez")
        third.connection.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            third.connection.sock.recv(1, socket.MSG_PEEK)
        held[0].connection.close()
        third.connection.sock.settimeout(30)
        assert third.connection.getresponse().status == 200
        assert pooler.reload(http_max_connections=3).error is None
        assert stack.enter_context(Http(pooler.http_port)).text("/livez") == "ok\n"


def test_who_says_nothing_or_little_is_cut_off_and_nobody_waits_for_him(make):
    pooler = make(http_max_connections=4)
    with contextlib.ExitStack() as stack, pooler.wire() as w:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", pooler.http_port))) for _ in range(4)]
        slow[0].sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
        web = stack.enter_context(Http(pooler.http_port, timeout=120))
        web.connection.request("GET", "/livez")

        def drip():
            while True:
                for s in slow[1:3]:
                    try:
                        s.sendall(b"G")
                    except OSError:
                        return
                time.sleep(0.2)

        dripping = threading.Thread(target=drip)
        dripping.start()
        for _ in range(100):
            assert w.value("SELECT 1") == "1"
        assert web.connection.getresponse().status == 200
        dripping.join(60)
        assert not dripping.is_alive()


def test_who_does_not_read_costs_little_and_keeps_nobody_waiting(make):
    pooler = make(max_client_conn=1100)
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(pooler.wire())
        w = stack.enter_context(pooler.wire())
        before = pooler.rss()
        for _ in range(20):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(("127.0.0.1", pooler.http_port))
            s.sendall(b"GET /api/tables/clients_ext HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        for _ in range(300):
            assert w.value("SELECT 1") == "1"
        with Http(pooler.http_port) as web:
            assert len(web.json("/api/tables/clients")["rows"]) >= 1000
        assert pooler.rss() - before < 20 * 1024 * 1024


# Where it listens

def test_nothing_is_answered_unless_it_is_asked_for(pooler):
    assert pooler.config("http_listen_addr") == "<empty>" or pooler.config("http_listen_addr") == ""
    with pytest.raises(ConnectionRefusedError):
        Http(9127 if pooler.config("http_port") != "9127" else free_port()).get("/livez")


def test_on_the_loopback_no_password_crosses_a_network(shared):
    assert "in the clear" not in shared.log()


def test_an_address_that_is_taken_is_an_error_at_the_start(make):
    pooler = make()
    other = make(start=False, http_port=pooler.http_port)
    result = other.run(other.ini)
    assert result.returncode == 1
    assert f"cannot listen on 127.0.0.1:{pooler.http_port}" in result.stderr


def test_from_another_machine_one_has_to_log_in(pg, make, network):
    with network.near.inside():
        pooler = make(http_listen_addr="*", databases={"app": {"host": "10.213.0.9"}})
        assert "passwords cross the network in the clear" in pooler.log()
        with Http(pooler.http_port) as web:
            assert web.get("/metrics").status == 200
    with network.far.inside():
        with Http(pooler.http_port, host=network.near.address) as web:
            assert web.get("/livez").status == 200
            assert web.get("/metrics").status == 401
            assert web.get("/metrics", Host="localhost").status == 401
            assert web.get("/metrics", **basic("stats", SECRETS["stats"])).status == 200


# TLS

@pytest.fixture
def secured(make, certs):
    shown = certs.copy(certs.server, "http")
    pooler = make(http_tls_cert_file=shown.cert, http_tls_key_file=shown.key)
    pooler.shown = shown
    return pooler


def certificate(web):
    web.connection.connect()
    return web.connection.sock.getpeercert(binary_form=True)


def test_with_a_certificate_there_is_only_tls(secured, certs):
    with Http(secured.http_port, trusting(certs), login=("admin", SECRETS["admin"])) as web:
        assert web.text("/livez") == "ok\n"
        assert "pgbouncer_up 1\n" in web.text("/metrics")
        assert web.command("RELOAD")[0] == 200
        assert web.connection.sock.version() in ("TLSv1.2", "TLSv1.3")
    with Http(secured.http_port) as web, pytest.raises((http.client.HTTPException, ConnectionError)):
        web.get("/livez")


def test_old_versions_of_tls_are_refused(secured, certs):
    context = trusting(certs)
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with Http(secured.http_port, context) as web, pytest.raises((ssl.SSLError, ConnectionError)):
        web.get("/livez")


def test_a_reload_renews_the_certificate_for_those_who_come(secured, certs):
    with Http(secured.http_port, trusting(certs), login=("admin", SECRETS["admin"])) as early:
        before = certificate(early)
        certs.overwrite(secured.shown, certs.renewed)
        assert early.command("RELOAD") == (200, {"result": "done"})
        with Http(secured.http_port, trusting(certs)) as late:
            assert certificate(late) != before
            assert late.text("/livez") == "ok\n"
        assert early.text("/livez") == "ok\n"


@pytest.mark.parametrize("what", ["no key", "not a certificate", "another's key", "no file"])
def test_a_certificate_that_cannot_be_used_leaves_all_as_it_was(secured, certs, what):
    changed = {"no key": {"http_tls_key_file": None},
               "not a certificate": {"http_tls_cert_file": secured.ini},
               "another's key": {"http_tls_key_file": certs.renewed.key},
               "no file": {"http_tls_cert_file": "/nowhere.pem"}}[what]
    error = secured.reload(**changed, default_pool_size=3).error
    assert error is not None and "http_tls_" in str(error)
    assert secured.config("default_pool_size") == "20"
    with Http(secured.http_port, trusting(certs)) as web:
        assert web.text("/livez") == "ok\n"
    assert "http_tls_" in secured.run("--check", secured.ini).stderr


def test_tls_may_come_and_go_with_a_reload(make, certs):
    pooler = make()
    with Http(pooler.http_port) as web:
        assert web.text("/livez") == "ok\n"
        assert pooler.reload(http_tls_cert_file=certs.server.cert, http_tls_key_file=certs.server.key).error is None
        assert web.text("/livez") == "ok\n"
    with Http(pooler.http_port, trusting(certs)) as web:
        assert web.text("/livez") == "ok\n"
        assert pooler.reload(http_tls_cert_file=None, http_tls_key_file=None).error is None
    with Http(pooler.http_port) as web:
        assert web.text("/livez") == "ok\n"


def test_half_a_handshake_is_cut_off_and_keeps_nobody_waiting(secured, certs):
    with contextlib.ExitStack() as stack, secured.wire() as w:
        for _ in range(20):
            s = stack.enter_context(socket.create_connection(("127.0.0.1", secured.http_port)))
            s.sendall(b"\x16\x03\x01")
        for _ in range(100):
            assert w.value("SELECT 1") == "1"
        with Http(secured.http_port, trusting(certs)) as web:
            assert web.text("/livez") == "ok\n"
