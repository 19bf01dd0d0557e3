"""A PostgreSQL cluster of the tests' own, in a temporary directory, run by an ordinary user."""

import os
import shutil
import signal
import subprocess
import tempfile

import psycopg
import psycopg.sql

from .system import as_account, eventually, free_port, give_away, run, stop_process
from .wire import Wire

PASSWORD = "Sësam öffne dich"

# Which roles there are and how the server asks each for its password. The first column of the HBA file's
# lines made from it is the role: a test chooses a way of logging in to the server by choosing the user.
ROLES = {
    "app": "trust",
    "other": "trust",
    "plain_user": "password",
    "md5_user": "md5",
    "scram_user": "scram-sha-256",
    "rejected": "reject",
}

# Roles that a test makes are asked as the group asks that they are a member of; superusers are not members.
GROUPS = {
    "demand_password": "password",
    "demand_md5": "md5",
    "demand_scram": "scram-sha-256",
}


class Postgres:
    """
    settings: further lines of postgresql.conf; hba: lines before all others of pg_hba.conf; address and port: of
    the TCP socket.
    """

    def __init__(self, settings=(), hba=(), address="127.0.0.1", port=None):
        self.bindir = run(["pg_config", "--bindir"]).stdout.strip()
        self.directory = tempfile.mkdtemp(prefix="pgsluice-pg-", dir="/tmp")
        self.data = os.path.join(self.directory, "data")
        self.log = os.path.join(self.directory, "log")
        self.address = address
        self.port = port or free_port()
        self.process = None
        give_away(self.directory)
        self.make(settings, hba)

    def make(self, settings, hba):
        self._initdb(settings, hba)
        self.start()
        self._create_roles()

    def program(self, name):
        return os.path.join(self.bindir, name)

    def _initdb(self, settings, hba):
        made = run([self.program("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                    "--locale=C", "--no-sync"], cwd=self.directory, **as_account())
        assert made.returncode == 0, made.stdout + made.stderr
        self._append("postgresql.conf", [
            "max_connections = 200",
            "superuser_reserved_connections = 10",
            "fsync = off",
            "synchronous_commit = off",
            "full_page_writes = off",
            "max_wal_size = '4GB'",
            "log_connections = on",
            # A backend notices in the middle of pg_sleep() that the pooler has dropped it.
            "client_connection_check_interval = '100ms'",
            "timezone = 'UTC'",
            *settings,
        ])
        ways = {**ROLES, **{f"+{group}": method for group, method in GROUPS.items()}}
        lines = [f"{kind} all {role} {address} {method}" for role, method in ways.items()
                 for kind, address in (("local", ""), ("host", "127.0.0.1/32"))]
        with open(os.path.join(self.data, "pg_hba.conf"), "w") as f:
            f.write("\n".join([*hba, *lines, "local all all trust", "host all all 127.0.0.1/32 trust", ""]))

    def _append(self, name, lines):
        with open(os.path.join(self.data, name), "a") as f:
            f.write("\n".join([""] + lines + [""]))

    def _create_roles(self):
        with self.connect("postgres", autocommit=True) as c:
            for role, method in ROLES.items():
                c.execute(f"SET password_encryption = '{'md5' if method == 'md5' else 'scram-sha-256'}'")
                c.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
            for group in GROUPS:
                c.execute(f"CREATE ROLE {group}")
            c.execute("CREATE DATABASE app OWNER app")
            c.execute("CREATE DATABASE second OWNER app")
        with self.connect("app", autocommit=True) as c:
            c.execute("GRANT ALL ON SCHEMA public TO PUBLIC")

    def secret(self, role):
        """What pg_authid keeps for a role: an md5 hash or a SCRAM verifier."""
        return self.value(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{role}'")

    def make_role(self, name, password=None, group=None, encryption="scram-sha-256", more="LOGIN"):
        """A role as a test wants it, whatever there was of that name: returns what pg_authid keeps of it."""
        self.rows(f'DROP ROLE IF EXISTS "{name}"')
        self.rows(f'CREATE ROLE "{name}" {more}' + (f" IN ROLE {group}" if group else ""))
        self.set_password(name, password, encryption)
        return self.secret(name)

    def set_password(self, name, password, encryption="scram-sha-256"):
        """By ALTER ROLE, hashed by the server; None takes it away."""
        with self.connect("postgres", autocommit=True) as c:
            c.execute(f"SET password_encryption = '{encryption}'")
            c.execute(psycopg.sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                psycopg.sql.Identifier(name), psycopg.sql.Literal(password)))

    def start(self):
        """Where it listens is not in the files: a standby's are its primary's."""
        command = [self.program("postgres"), "-D", self.data, "-p", str(self.port), "-h", self.address,
                   "-k", self.directory]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory, **as_account())
        self.wait_ready()

    def wait_ready(self):
        eventually(self._answers, "PostgreSQL accepts connections", timeout=60)

    def _answers(self):
        assert self.process.poll() is None, open(self.log).read()[-4000:]
        try:
            self.connect("postgres").close()
            return True
        except psycopg.OperationalError:
            return False

    def stop(self, sig=signal.SIGQUIT):
        """SIGQUIT is `pg_ctl stop -m immediate`, SIGINT fast."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            stop_process(self.process, sig)
            self.process = None

    def restart(self):
        self.stop(signal.SIGINT)
        self.start()

    def freeze(self):
        """Nobody new is let in; the kernel still accepts connections, nothing answers on them."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def connect(self, dbname="app", user="postgres", **kwargs):
        """psycopg, past the pooler."""
        return psycopg.connect(host=self.directory, port=self.port, dbname=dbname, user=user, **kwargs)

    def wire(self, dbname="app", user="app", timeout=30, **parameters):
        """A logged in raw connection, past the pooler."""
        return Wire((self.address, self.port), timeout).login(user, dbname, **parameters)

    def rows(self, sql, dbname="postgres"):
        with self.connect(dbname, autocommit=True, application_name="observer") as c:
            cursor = c.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql, dbname="postgres"):
        return self.rows(sql, dbname)[0][0]

    def backends(self, dbname="app"):
        """Process ids of the client backends on a database, the observer's own left out."""
        return [row[0] for row in self.rows(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{dbname}' AND application_name <> 'observer'"
            " AND backend_type = 'client backend'")]

    def clear(self):
        """Ends what a test has left behind, so that the next one counts its own backends only."""
        def gone():
            return not self.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                 " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
        eventually(gone, "no backends")

    def psql(self, sql, host=None, port=None, user="app", dbname="app", options=()):
        """psql by its exit status and output; of this server unless told another address."""
        return run(["psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", host or "127.0.0.1", "-p",
                    str(port or self.port), "-U", user, "-d", dbname, "-c", sql, *options])

    def pgbench(self, *args, port=None, user="app", dbname="app", timeout=300):
        return run([self.program("pgbench"), "-h", "127.0.0.1", "-p", str(port or self.port), "-U", user,
                    *args, dbname], timeout=timeout)
