"""
All that a pooler does in one short life, for those who watch the process and not the answers: logins by every method,
right and wrong, over TCP, TLS and Unix sockets, queries, cancelled and broken ones, names, HTTP, the console, reloads.
"""

import contextlib
import os
import signal

from .http import Http
from .system import eventually, free_port
from .vouchers import Pam, SecretTable, Slapd
from .wire import Wire, md5_secret, query, scram_secret

SHOWN = ("CLIENTS", "SERVERS", "SOCKETS", "POOLS", "DATABASES", "USERS", "LISTS", "STATS", "CONFIG", "MEM", "STATE",
         "DNS_HOSTS", "DNS_ZONES", "FDS", "HELP", "ERRORS", "PREPARED_STATEMENTS", "HOSTS", "WAITING", "LATENCY")

RULES = """
local all admin peer map=us
local all all trust
host pgbouncer admin all scram-sha-256
host all reject samehost reject
host all trusted samenet trust
host all plain all password
host all md5 all md5
host all scram,looked_up all scram-sha-256
host all pam all pam
host all ldap all ldap {ldap}
hostssl all all all cert
"""


class Scenario:
    """Prepared, it has a pooler that is not started; whoever made it starts it, in whichever way, and lets it live."""

    PEOPLE = {name: f"{name}'s password" for name in ("plain", "md5", "scram", "looked_up", "pam", "ldap")}

    def __init__(self, stack, pg, certs, make_pooler):
        self.pg, self.certs = pg, certs
        pam, slapd = Pam({"pam": self.PEOPLE["pam"]}), Slapd({"ldap": self.PEOPLE["ldap"]})
        secrets = SecretTable(pg)
        for thing in (pam, slapd, secrets):
            stack.callback(thing.close)
        secrets.put("looked_up", scram_secret(self.PEOPLE["looked_up"]))
        self.http_port = free_port()
        self.pooler = pooler = make_pooler(
            start=False, auth_type="hba", auth_user="app", auth_query=SecretTable.QUERY, auth_dbname="direct",
            auth_pam_confdir=pam.confdir, http_listen_addr="127.0.0.1", http_port=self.http_port, stats_period=1,
            log_format="json", log_min_duration="1us", dns_max_ttl=1,
            **certs.for_clients(mode="allow", pair=certs.server),
            databases={"app": {"user": "app"}, "direct": {"dbname": "app"},
                       "named": {"host": "localhost", "port": pg.port, "dbname": "app", "user": "app"},
                       "nowhere": {"host": "nosuch.invalid", "user": "app"},
                       "by_unix": {"host": pg.directory, "port": pg.port, "dbname": "app", "user": "app"}},
            userlist={"admin": "secret", "app": "", "trusted": "", "plain": self.PEOPLE["plain"],
                      "md5": md5_secret("md5", self.PEOPLE["md5"]), "scram": scram_secret(self.PEOPLE["scram"])})
        pooler.settings["auth_hba_file"] = pooler.write_file("hba", RULES.format(ldap=slapd.bind))
        pooler.settings["auth_ident_file"] = pooler.write_file("ident", "us /^(.*)$ admin\n")
        pooler.settings["logfile"] = os.path.join(pooler.directory, "lines")
        pooler.settings["pidfile"] = os.path.join(pooler.directory, "pid")
        pooler.write()

    def wire(self, database="app", user="trusted", password=None):
        return Wire(("127.0.0.1", self.pooler.port)).login(user, database, password)

    def console(self):
        return self.wire("pgbouncer", "admin", "secret")

    def logins(self):
        for user, password in self.PEOPLE.items():
            assert self.pooler.attempt(password, user).outcome == "in", user
            assert self.pooler.attempt("wrong", user).outcome != "in", user
        assert self.pooler.attempt(user="trusted").outcome == "in"
        assert self.pooler.attempt(user="trusted", unix=True).outcome == "in"
        assert self.pooler.attempt(user="reject").outcome != "in"
        assert self.pooler.attempt("x", user="nobody").outcome != "in"
        options = self.certs.libpq("require", self.certs.client_cert_user)
        with self.pooler.connect(user="cert_user", **options) as c:
            c.execute("SELECT 1")
            c.prepare_threshold = 0
            c.execute("SELECT %s", (1,))

    def queries(self):
        with self.wire() as a, self.wire() as b:
            a.query("BEGIN")
            assert b.value("SELECT 1") == "1"
            a.query("SELECT 1/0")
            a.query("ROLLBACK")
            a.extended("SELECT repeat($1, 100000)", ["x"])
            a.query("PREPARE p AS SELECT 1; EXECUTE p")
            a.query("SET TimeZone = 'Asia/Tokyo'")
            assert a.value("SHOW TimeZone") == "Asia/Tokyo"
            b.send_raw(query("SELECT pg_sleep(30)"))
            eventually(lambda: self.pg.value("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_sleep.30'"
                                             " AND state = 'active' AND pid <> pg_backend_pid()") == 1, "it sleeps")
            b.cancel()
            assert b.result().error["C"] == "57014"
        with self.wire() as gone:
            gone.query("BEGIN")
            gone.send_raw(query("SELECT pg_sleep(0.1)"))
        for database in ("named", "by_unix"):
            with self.wire(database) as w:
                assert w.value("SELECT 1") == "1"
        with contextlib.suppress(AssertionError, OSError), self.wire("nowhere") as w:
            w.query("SELECT 1")

    def look(self):
        with self.console() as w:
            for name in SHOWN:
                assert w.query(f"SHOW {name}").error is None, name
            for command in ("SET log_connections = 0", "PAUSE app", "RESUME app", "RECONNECT", "KILL named", "RESUME named",
                            "DISABLE direct", "ENABLE direct", "RELOAD"):
                assert w.query(command).error is None, command
        with Http(self.http_port, login=("admin", "secret")) as http:
            for path in ("/livez", "/readyz", "/metrics", "/api/health", "/api/tables/pools", "/"):
                assert http.get(path).status == 200, path
        with Http(self.http_port, login=("admin", "wrong")) as http:
            assert http.get("/metrics").status == 401

    def live(self):
        self.logins()
        self.queries()
        self.look()
        os.rename(self.pooler.settings["logfile"], self.pooler.settings["logfile"] + ".1")
        self.pooler.signal(signal.SIGHUP)
        eventually(lambda: os.path.exists(self.pooler.settings["logfile"]), "the log is opened anew")
        self.queries()

    def end(self):
        with self.console() as w, contextlib.suppress(AssertionError, OSError):
            w.query("SHUTDOWN")
