"""A name server: what it knows can be changed while it runs, and it can be made to answer in every wrong way."""

import os
import random
import socket
import struct
import threading
import time

A, CNAME, SOA, AAAA = 1, 5, 6, 28
SOA_TTL = 60
TCP_LIMIT = 65535


def domain(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def record(owner, kind, ttl, data):
    return domain(owner) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


class Question:
    def __init__(self, packet):
        labels, at = [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode())
            at += 1 + packet[at]
        self.kind, = struct.unpack_from("!H", packet, at + 1)
        self.name = ".".join(labels)
        self.packet = packet
        self.question = packet[12:at + 5]

    def reply(self, answers=(), authorities=(), code=0, flags=0x8180):
        counts = struct.pack("!HHHHH", flags | code, 1, len(answers), len(authorities), 0)
        return self.packet[:2] + counts + self.question + b"".join(answers) + b"".join(authorities)


class NameServer:
    """
    names: {name: addresses}; aliases: {name: name}; zones: {zone: serial}. Others do not exist. ttl: one for all, in
    seconds; delay: before each answer. spoil(question, reply, is_tcp): sends something else, None nothing at all.
    """

    def __init__(self):
        self.names, self.aliases, self.zones = {}, {}, {}
        self.ttl, self.delay, self.spoil = 3600, 0, None
        self.asked = []       # names, for an IPv4 address
        self.asked_at = []    # when
        self.asked_soa = []   # names, for the zone
        self.asked_tcp = 0
        self.address, self.udp = self._bind()
        self.tcp = socket.create_server((self.address, 53))
        self.is_closing = False
        self.threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve_udp, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _bind():
        """One to itself, whatever other tests run at the same time."""
        while True:
            address = f"127.77.{random.randrange(256)}.{random.randrange(1, 255)}"
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.bind((address, 53))
                return address, sock
            except OSError:
                sock.close()

    def write_conf(self, path, timeout=1, search=None):
        """A resolv.conf that leads here, readable for everybody; its path. Versions of c-ares differ in the options."""
        path.write_text(f"nameserver {self.address}\noptions retrans:{timeout * 1000} retry:1 timeout:{timeout} attempts:1\n" +
                        (f"search {search}\n" if search else ""))
        for each in (path, *path.parents):
            if each.stat().st_uid == os.getuid():
                each.chmod(each.stat().st_mode | 0o055)
        return path

    def close(self):
        """Only when the threads are out of recvfrom() and accept() are the ports free again: they are woken up."""
        if self.is_closing:
            return
        self.is_closing = True
        self.udp.sendto(b"", (self.address, 53))
        self.tcp.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.udp.close()
        self.tcp.close()

    def _serve_udp(self):
        while True:
            packet, peer = self.udp.recvfrom(4096)
            if self.is_closing:
                return
            self._later(self._answer_udp, packet, peer)

    def _serve_tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            sock.settimeout(10)
            self._later(self._answer_tcp, sock)

    @staticmethod
    def _later(fn, *args):
        threading.Thread(target=fn, args=args, daemon=True).start()

    def _answer_udp(self, packet, peer):
        reply = self.answer(packet, False)
        if reply is not None and not self.is_closing:
            self.udp.sendto(reply, peer)

    def _answer_tcp(self, sock):
        with sock:
            try:
                while True:
                    size = sock.recv(2, socket.MSG_WAITALL)
                    if len(size) < 2:
                        return
                    self.asked_tcp += 1
                    reply = self.answer(sock.recv(struct.unpack("!H", size)[0], socket.MSG_WAITALL), True)
                    if reply is None:
                        return
                    sock.sendall(struct.pack("!H", len(reply)) + reply)
            except OSError:
                return

    def answer(self, packet, is_tcp):
        question = Question(packet)
        if question.kind == A:
            self.asked.append(question.name)
            self.asked_at.append(time.monotonic())
        elif question.kind == SOA:
            self.asked_soa.append(question.name)
        reply = self.honest(question)
        if self.spoil is not None:
            reply = self.spoil(question, reply, is_tcp)
        elif len(reply) > (TCP_LIMIT if is_tcp else 512):
            reply = question.reply(flags=0x8380)
        time.sleep(self.delay)
        return reply

    def honest(self, question):
        target = self.aliases.get(question.name, question.name)
        answers = []
        if target != question.name:
            answers.append(record(question.name, CNAME, self.ttl, domain(target)))
        if question.kind == SOA and target in self.zones:
            return question.reply(answers + [self.soa(target)])
        answers += [self.address_record(target, a) for a in self.names.get(target, ())
                    if question.kind == (AAAA if ":" in a else A)]
        zone = self.zone_of(target)
        is_known = target in self.names or target in self.zones
        authorities = [self.soa(zone)] if zone and len(answers) == (target != question.name) else []
        return question.reply(answers, authorities, 0 if is_known else 3)

    def address_record(self, name, address):
        family, kind = (socket.AF_INET6, AAAA) if ":" in address else (socket.AF_INET, A)
        return record(name, kind, self.ttl, socket.inet_pton(family, address))

    def zone_of(self, name):
        while name and name not in self.zones:
            name = name.partition(".")[2]
        return name

    def soa(self, zone):
        return record(zone, SOA, SOA_TTL, domain("ns." + zone) + domain("root." + zone) +
                      struct.pack("!5I", self.zones[zone], 3600, 600, 86400, 60))
