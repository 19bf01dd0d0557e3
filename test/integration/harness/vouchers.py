"""Others that know passwords: a directory (slapd), a PAM service, a table for auth_query; all of the tests' own."""

import os
import shutil
import socket
import subprocess
import tempfile

import pytest

from .system import as_account, eventually, free_port, give_away, run, stop_process

SLAPD = shutil.which("slapd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/libexec:/usr/lib/openldap")

SLAPD_CONF = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {directory}/pid
database mdb
suffix "dc=example,dc=net"
rootdn "cn=root,dc=example,dc=net"
directory {directory}/data
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="ou=closed,dc=example,dc=net"
  by dn.exact="cn=reader,dc=example,dc=net" read by anonymous auth by * none
access to * by * read
"""

ROOT = """
dn: dc=example,dc=net
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=net
objectClass: organizationalUnit
ou: people

dn: ou=closed,dc=example,dc=net
objectClass: organizationalUnit
ou: closed

dn: cn=reader,dc=example,dc=net
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: {reader}
"""

PERSON = """
dn: uid={name},ou={unit},dc=example,dc=net
objectClass: inetOrgPerson
uid: {name}
cn: {name}
sn: {name}
mail: {name}@example.net
userPassword: {password}
"""


def write_directory(directory, people, closed=None, reader_password="reader s secret"):
    """The files of a slapd: slapd.conf, and ldif for slapadd."""
    os.makedirs(os.path.join(directory, "data"))
    conf, ldif = os.path.join(directory, "slapd.conf"), os.path.join(directory, "ldif")
    with open(conf, "w") as f:
        f.write(SLAPD_CONF.format(directory=directory))
    with open(ldif, "w") as f:
        f.write(ROOT.format(reader=reader_password))
        for unit, members in (("people", people), ("closed", closed or {})):
            for name, password in members.items():
                f.write(PERSON.format(name=name, unit=unit, password=password))
    for path in (directory, os.path.join(directory, "data"), conf, ldif):
        give_away(path)


class Slapd:
    """People {name: password}, found by everybody; those of `closed` only by cn=reader."""

    def __init__(self, people, closed=None, reader_password="reader s secret"):
        if SLAPD is None:
            pytest.skip("slapd is not installed")
        self.reader_password = reader_password
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="pgsluice-ldap-", dir="/tmp")
        self.conf = os.path.join(self.directory, "slapd.conf")
        write_directory(self.directory, people, closed, reader_password)
        added = run(["/usr/sbin/slapadd", "-f", self.conf, "-l", os.path.join(self.directory, "ldif")], **as_account())
        assert added.returncode == 0, added.stderr
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen([SLAPD, "-f", self.conf, "-h", f"ldap://127.0.0.1:{self.port}", "-d", "0"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_account())
        eventually(self._accepts, "slapd accepts connections")

    def _accepts(self):
        assert self.process.poll() is None, f"slapd ended with {self.process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process is not None:
            stop_process(self.process)
            self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def bind(self):
        """The options of a simple bind."""
        return (f"ldapserver=127.0.0.1 ldapport={self.port} ldapprefix=\"uid=\""
                " ldapsuffix=\",ou=people,dc=example,dc=net\"")


CHECK = """#!/bin/sh
# The password is on standard input and must be that of the user's file; while "hold" is there, it is waited for.
given=$(tr -d '\\0')
echo "$PAM_USER" >>{directory}/asked
while [ -e {directory}/hold ]; do sleep 0.02; done
case $PAM_USER in *[!a-z0-9_]*) exit 1 ;; esac
[ -e "{directory}/passwords/$PAM_USER" ] && [ "$given" = "$(cat "{directory}/passwords/$PAM_USER")" ]
"""


class Pam:
    """A directory for auth_pam_confdir: service `pgbouncer` checks people {name: password}, `deny` lets nobody in."""

    def __init__(self, people):
        self.directory = tempfile.mkdtemp(prefix="pgsluice-pam-", dir="/tmp")
        self.confdir = os.path.join(self.directory, "pam.d")
        os.mkdir(self.confdir)
        os.mkdir(os.path.join(self.directory, "passwords"))
        for name, password in people.items():
            self._write(f"passwords/{name}", password)
        self._write("check", CHECK.format(directory=self.directory))
        self._write("asked", "")
        os.chmod(os.path.join(self.directory, "check"), 0o755)
        self.service("pgbouncer", f"auth required pam_exec.so quiet expose_authtok {self.directory}/check")
        self.service("deny", "auth required pam_deny.so")
        for path in (self.directory, self.confdir, os.path.join(self.directory, "passwords")):
            give_away(path)

    def service(self, name, auth, account="account required pam_permit.so"):
        self._write(f"pam.d/{name}", f"{auth}\n{account}\n")

    def _write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as f:
            f.write(text)
        give_away(path)

    def hold(self):
        """Nobody is answered until release()."""
        self._write("hold", "")

    def release(self):
        os.unlink(os.path.join(self.directory, "hold"))

    @property
    def asked(self):
        with open(os.path.join(self.directory, "asked")) as f:
            return f.read().split()

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class SecretTable:
    """A table of secrets for auth_query, in database app, that remembers who was asked for, when and how."""

    QUERY = "SELECT name, secret FROM public.secret_of($1)"

    def __init__(self, pg):
        self.pg = pg
        for sql in (
                "DROP TABLE IF EXISTS secrets, asked, pause",
                "CREATE TABLE secrets (name text, secret text)",
                "CREATE TABLE pause (seconds float)",
                "CREATE TABLE asked (name text, since timestamptz, until timestamptz, session_user_ text,"
                " search_path text, application_name text, pid int)",
                """CREATE OR REPLACE FUNCTION secret_of(who text, OUT name text, OUT secret text) RETURNS SETOF record
                   LANGUAGE plpgsql SECURITY DEFINER AS $$
                   DECLARE since timestamptz := clock_timestamp();
                   BEGIN
                       PERFORM pg_sleep(seconds) FROM public.pause;
                       INSERT INTO public.asked VALUES (who, since, clock_timestamp(), session_user,
                           current_setting('search_path'), current_setting('application_name'), pg_backend_pid());
                       RETURN QUERY SELECT s.name, s.secret FROM public.secrets s WHERE s.name = who;
                   END $$"""):
            pg.rows(sql, "app")

    def put(self, name, secret):
        """None: the user has no secret."""
        value = "NULL" if secret is None else f"'{secret}'"
        self.pg.rows(f"DELETE FROM secrets WHERE name = '{name}'", "app")
        self.pg.rows(f"INSERT INTO secrets VALUES ('{name}', {value})", "app")

    def pause(self, seconds):
        """Each answer takes so long."""
        self.pg.rows(f"DELETE FROM pause; INSERT INTO pause VALUES ({seconds})", "app")

    def asked(self, name):
        return self.pg.value(f"SELECT count(*) FROM asked WHERE name = '{name}'", "app")

    def close(self):
        self.pg.rows("DROP FUNCTION secret_of; DROP TABLE secrets, asked, pause", "app")
