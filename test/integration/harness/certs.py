"""Authorities and certificates of the tests' own, by the openssl program, and both ends of TLS in Python."""

import collections
import hashlib
import os
import shutil
import ssl
import struct
import tempfile

from .system import give_away, run
from .wire import SSL_REQUEST, packet

Pair = collections.namedtuple("Pair", "cert key")

HERE = "DNS:localhost,IP:127.0.0.1"
REQUEST = packet("", struct.pack("!I", SSL_REQUEST))
ALPN = "postgresql"

KEYS = {
    "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
    "rsa": ["-newkey", "rsa:2048"],
    "ed25519": ["-newkey", "ed25519"],
}


def openssl(*args, **kwargs):
    done = run(["openssl", *args], **kwargs)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Certs:
    """
    A directory of them. `ca` is the authority that everybody trusts, `stranger` one that nobody knows.
    Servers' names say what is wrong with them, clients' are of the form client_NAME; see below.
    """

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="pgsluice-certs-", dir="/tmp")
        os.chmod(self.directory, 0o755)
        self.ca = self.authority("ca")
        self.stranger = self.authority("stranger")

        self.server = self.certificate("server")
        self.renewed = self.certificate("renewed")
        self.ip = self.certificate("ip", cn="anything", names="IP:127.0.0.1")
        self.cn_only = self.certificate("cn_only", cn="localhost", names=None)
        self.wrong_host = self.certificate("wrong_host", cn="localhost", names="DNS:db.example.net")
        self.wrong_ca = self.certificate("wrong_ca", ca=self.stranger)
        self.expired = self.certificate("expired", days=-1)
        self.rsa = self.certificate("rsa", kind="rsa")
        self.ed25519_ca = self.authority("ed25519_ca", kind="ed25519")
        self.ed25519 = self.certificate("ed25519", ca=self.ed25519_ca, kind="ed25519")

        self.client_app = self.certificate("client_app", cn="app", names=None)
        self.client_mail = self.certificate("client_mail", cn="app@example.net", names=None)
        self.client_cert_user = self.certificate("client_cert_user", cn="cert_user", names=None)
        self.client_wrong_ca = self.certificate("client_wrong_ca", cn="app", names=None, ca=self.stranger)
        self.client_expired = self.certificate("client_expired", cn="app", names=None, days=-1)

    def path(self, name):
        return os.path.join(self.directory, name)

    def _request(self, name, cn, kind, *more):
        """A key, and a request or a self-signed certificate for it."""
        out = self.path(f"{name}.pem")
        openssl("req", "-new", "-nodes", *KEYS[kind], "-subj", f"/O=pgsluice tests/CN={cn}",
                "-keyout", self.path(f"{name}.key"), "-out", out, *more)
        pair = Pair(out, self.path(f"{name}.key"))
        os.chmod(pair.key, 0o600)
        for path in pair:
            give_away(path)
        return pair

    def authority(self, name, kind="ec"):
        return self._request(name, f"authority {name}", kind, "-x509", "-days", "30")

    def certificate(self, name, cn="localhost", names=HERE, ca=None, days=30, kind="ec", digest=None):
        """One from `ca`, signed with SHA-256 unless told otherwise; of the past when days is negative."""
        ca = ca or self.ca
        pair = self._request(name, cn, kind)
        extensions = self.path(f"{name}.ext")
        with open(extensions, "w") as f:
            f.write("basicConstraints = CA:FALSE\n" + (f"subjectAltName = {names}\n" if names else ""))
        openssl("x509", "-req", "-in", pair.cert, "-CA", ca.cert, "-CAkey", ca.key, "-CAcreateserial",
                "-days", str(days), *([f"-{digest}"] if digest else []), "-extfile", extensions, "-out", pair.cert)
        return pair

    def copy(self, pair, name):
        """The same under another name, to be overwritten."""
        to = Pair(self.path(f"{name}.pem"), self.path(f"{name}.key"))
        self.overwrite(to, pair)
        return to

    @staticmethod
    def overwrite(to, pair):
        for there, here in zip(to, pair):
            shutil.copyfile(here, there)
            os.chmod(there, 0o600)
            give_away(there)

    def for_clients(self, pair=None, mode="require", **more):
        """Settings of a pooler that shows a certificate to its clients, and knows theirs."""
        pair = pair or self.server
        return {"client_tls_sslmode": mode, "client_tls_cert_file": pair.cert, "client_tls_key_file": pair.key,
                "client_tls_ca_file": self.ca.cert, **more}

    def for_servers(self, mode="verify-full", pair=None, **more):
        """Settings of a pooler that knows its servers' certificates, and has one to show to them."""
        if pair is not None:
            more = {"server_tls_cert_file": pair.cert, "server_tls_key_file": pair.key, **more}
        return {"server_tls_sslmode": mode, "server_tls_ca_file": self.ca.cert, **more}

    def libpq(self, mode="verify-full", pair=None, **more):
        """Keywords of a connection string."""
        if pair is not None:
            more = {"sslcert": pair.cert, "sslkey": pair.key, **more}
        return {"host": "localhost", "sslmode": mode, "sslrootcert": self.ca.cert, **more}

    def client(self, pair=None, version=None, alpn=None, ca=None):
        """A client's end that checks certificate and name; with a certificate of its own, of one version only."""
        context = ssl.create_default_context(cafile=(ca or self.ca).cert)
        if pair is not None:
            context.load_cert_chain(*pair)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        return context

    def peer(self, pair=None, alpn=None):
        """A server's end."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(pair or self.server))
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        return context

    def close(self):
        shutil.rmtree(self.directory, ignore_errors=True)


def der(pair):
    with open(pair.cert) as f:
        return ssl.PEM_cert_to_DER_cert(f.read())


def end_point(pair):
    """The channel binding data of a certificate that was signed with SHA-256."""
    return hashlib.sha256(der(pair)).digest()


def secure(stream, context, host="localhost", session=None):
    """A stream goes on in TLS, as a client."""
    assert not stream.buffer
    stream.sock = context.wrap_socket(stream.sock, server_hostname=host, session=session)
    return stream


def secure_peer(peer, context):
    """A stream goes on in TLS, as a server."""
    assert not peer.buffer
    peer.sock = context.wrap_socket(peer.sock, server_side=True)
    return peer


def ask(stream):
    """Requests TLS; the one byte of the answer."""
    stream.send_raw(REQUEST)
    return stream.read(1)


def tls(stream, context, host="localhost", session=None):
    """Requests TLS and begins it."""
    assert ask(stream) == b"S"
    return secure(stream, context, host, session)


def was_asked(peer):
    """A server's first bytes: they must request TLS."""
    assert peer.read(len(REQUEST)) == REQUEST
    return peer


class Records:
    """A client's end of which the test moves the bytes itself, over a socket."""

    def __init__(self, sock, context, host="localhost"):
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)

    def _step(self, step, *args):
        """What it has to say after a step, and whether that is done."""
        try:
            step(*args)
            return self.outgoing.read(), True
        except ssl.SSLWantReadError:
            return self.outgoing.read(), False

    def hello(self):
        return self._step(self.tls.do_handshake)[0]

    def receive(self):
        data = self.sock.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def handshake(self, send=None):
        """To its end; send() puts bytes on the wire as the test wants it."""
        done = False
        while not done:
            said, done = self._step(self.tls.do_handshake)
            (send or self.sock.sendall)(said)
            if not done:
                self.receive()

    def encrypt(self, data):
        return self._step(self.tls.write, data)[0]

    # What a Stream wants of its socket

    def sendall(self, data):
        self.sock.sendall(self.encrypt(data))

    def recv(self, size):
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLWantReadError:
                self.receive()

    def close(self):
        self.sock.close()
