"""Gunicorn's worker of threads, with a main thread that reads the heads of requests and refuses what cannot be served.

The main thread owns every connection on which nothing is being answered: it waits for the next request without a
thread, reads its head and the first 64 KB of what belongs to it, and puts the connection in the queue of the threads,
or answers 503 itself at once. A thread so works only for requests that are there, or for uploads that are well under
way, and a request that will not be served costs some microseconds and no thread. Nor does a thread wait for a body that
was left unread: the answer is the last one of its connection, and the main thread sees to the rest.

Whether to refuse is decided by how long the request would have to wait (`Queue.refuses`). A queue that was empty a
moment ago holds a burst, which may use most of a caller's deadline; one that has been standing for longer shows that
more comes than can be served, and then a long queue would only make everybody late. (B. Maurer, «Fail at Scale», ACM
Queue 13/8, 2015, after K. Nichols and V. Jacobson, «Controlling Queue Delay», ACM Queue 10/5, 2012.)
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import queue
import re
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Any

from django.conf import settings
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker
from prometheus_client import Counter

from internal import context, management, refusals, turns
from internal.problems import Problem
from internal.requests import BODY_RATE, BODY_SECONDS
from internal.sockets import ClientSocket, Together

BURST_WAIT = context.REQUEST_DEADLINE * 0.65  # seconds in a queue that was empty so many seconds ago
STANDING_WAIT = 0.5  # seconds in a queue that has been standing for longer
QUEUE_LIMIT = 512  # requests
HEAD_LIMIT = 64 * 1024  # bytes of request line and header fields
HEAD_SECONDS = 10.0  # for the head of a request to arrive, from its first byte
AHEAD_LIMIT = HEAD_LIMIT  # bytes of a request, with its body, that are here before it gets a thread
SEND_SECONDS = 10.0  # for which the client may take nothing of an answer, and by which it may be late
SEND_RATE = 16 * 1024  # bytes a second
BLANK_LIMIT = 1024  # bytes of empty lines before a request
LINGER_SECONDS = 2.0  # for a client to read the answer and close, before the connection is closed for it
LINGER_BYTES = 1024 * 1024  # of what such a client goes on sending

_RECEIVE_BYTES = 16 * 1024
_ACCEPTS = 4  # connections taken at a time: the other workers wake up as well, and take some
_ACCEPTS_BEHIND = 64  # where all have too much to do, so that nobody waits unseen in the backlog for a refusal
_LOOKS = 32  # at one connection at a time: what it sends without a pause must not keep all others waiting
_GATHER = 0.01  # seconds
_TICK = 1.0  # seconds between two looks at what has run out of time
_RATE_SAMPLE = 32  # requests taken by threads
_RATE_SECONDS = 0.25
_URGE = 0.02  # seconds
_REQUEST_LINE = re.compile(rb"[!-~]{1,40} [^ \r\n]+ HTTP/[0-9]\.[0-9]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n")
_CLOSE = re.compile(rb"\r\nconnection:[^\r\n]*close")
# Whatever in a head may make another answer of its refusal: by one search for one byte, of which there are few.
_SPECIAL = re.compile(rb"\n(?:[ \t]|content-length|transfer-encoding|connection|x-request-id|accept:[^\n]*text/html)")
_EXPECTS = re.compile(rb"[^\r\n]* http/1\.1(?=\r\n).*?\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.DOTALL)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_DISCARDED = 63 * 1024  # bytes of an unread body that gunicorn throws away and goes on

# What accept(2) says of one connection that is gone before it is taken, and of a system that is short of something.
_LOST = {
    errno.ECONNABORTED,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENONET,
    errno.ENOPROTOOPT,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EPROTO,
    errno.ETIMEDOUT,
}
_SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

# System calls that do not wait, made with the interpreter's lock held: a thread that gives it up for a microsecond gets
# it back after milliseconds when others compute, and the main thread has to be quick just then.
_libc = ctypes.PyDLL(None, use_errno=True)
_recv = _libc.recv
_recv.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_recv.restype = ctypes.c_ssize_t
_send = _libc.send
_send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
_send.restype = ctypes.c_ssize_t
_CLIENT_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.EAGAIN, None}  # EAGAIN: takes nothing more
_NOW = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL

REFUSED = Counter("seawall_refused_requests_total", "Requests answered 503 at once because too many waited already.")


class State(Enum):
    """Who has the connection: the main thread, except while it is BUSY."""

    OPEN = auto()  # nothing of a request has arrived
    READING = auto()  # some of it, but not enough for a thread
    BUSY = auto()  # a thread has it, or will
    CLOSING = auto()  # answered for the last time; what still arrives is thrown away
    CLOSED = auto()


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A connection, what has been read of its next request, and until when it may stay as it is."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:
        sock = ClientSocket(sock, seconds=SEND_SECONDS, rate=SEND_RATE)
        super().__init__(cfg, sock, client, server)
        sock.setblocking(True)
        self.fd = sock.fileno()
        self.state = State.OPEN
        self.since = 0.0  # when it came into this state; not of BUSY
        self.head = b""  # and of the body what has been read with it
        self.enough = 0  # bytes of these for which a thread is given; 0: not known
        self.blank = 0  # bytes of empty lines before it
        self.more = False  # something may be there to read that the poller will not tell of again
        self.ended = False  # the client sends no more; maybe there is something to read before that
        self.deadline = math.inf
        self.waiting_since = 0.0
        self.thrown_away = 0

    def is_awaited(self) -> bool:
        """Whether a request is, or some of it."""
        return self.state in (State.OPEN, State.READING)

    def become(self, state: State, seconds: float) -> None:
        """Comes into the state, for so long at most."""
        self.since = time.monotonic()
        self.deadline = self.since + seconds
        self.state = state  # last: with it another thread may have the connection


class _Turn(threading.local):
    """Whether the thread at hand has a turn."""

    held = False


class Queue:
    """Connections whose request waits for a thread. One thread puts, many take.

    Args:
        clock: seconds, monotonic.
        at_work: so many threads begin a request at a time; one that is `waiting` does not count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, at_work: float = math.inf) -> None:
        self._clock = clock
        self._limit = at_work
        self._waiting: deque[Connection] = deque()
        self._turns: queue.SimpleQueue[bool] = queue.SimpleQueue()  # one for each of them, or False: go home
        self._lock = threading.Lock()  # for the next four
        self._held = 0  # requests for which there is no turn yet
        self._at_work = 0  # turns that somebody has, or may take
        self._more = 0.0  # of them, while some wait for what is not known here
        self._given_at = clock()
        self._mine = _Turn()
        self._put = 0
        self._empty_at = clock()
        self._rate = 0.0  # taken a second; 0: not known
        self._marked_at = self._empty_at
        self._marked = 0
        self._moved_at = self._empty_at
        self._moved = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, connection: Connection) -> None:
        """The request waits from now on."""
        connection.waiting_since = self._clock()
        self._put += 1
        self._waiting.append(connection)
        with self._lock:
            self._held += 1
            self._give()

    def take(self) -> Connection | None:
        """The next one, as soon as there is one; None when the thread shall end. What it took before is done."""
        if not self._goes_on():
            if not self._turns.get():
                return None
            self._mine.held = True
        return self._waiting.popleft()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Lets another thread begin while this one waits, if it is one of those that take."""
        if not self._mine.held:
            yield
            return
        self._mine.held = False
        with self._lock:
            self._at_work -= 1
            self._give()
        try:
            yield
        finally:
            with self._lock:
                self._at_work += 1
            self._mine.held = True

    def urge(self) -> bool:
        """Lets one more be at work if nobody began for a while: those that are may wait for what is not known here.

        Whether a request waits for a turn.
        """
        with self._lock:
            if self._held and self._turns.empty() and self._clock() - self._given_at > _URGE:
                self._more = self._at_work + 1 - self._limit
                self._give()
            return self._held > 0

    def calm(self) -> None:
        """Forgets what `urge` found; for now and then."""
        with self._lock:
            self._more = 0.0

    def _goes_on(self) -> bool:
        """Whether the thread that has done its request begins the next one, without waking up another one for it."""
        if not self._mine.held:
            return False
        with self._lock:
            self._at_work -= 1
            self._mine.held = self._held > 0 and self._at_work < self._limit + self._more
            if self._mine.held:
                self._held -= 1
                self._at_work += 1
                self._given_at = self._clock()
        return self._mine.held

    def _give(self) -> None:
        """Turns to those that wait for one, until enough are at work. To be called with the lock."""
        while self._held and self._at_work < self._limit + self._more:
            self._held -= 1
            self._at_work += 1
            self._given_at = self._clock()
            self._turns.put(True)

    def leave(self) -> None:
        """The thread at hand takes no more."""
        if self._mine.held:
            self._mine.held = False
            with self._lock:
                self._at_work -= 1
                self._give()

    def end(self, threads: int) -> None:
        """Sends so many threads home when they have taken what has a turn."""
        for _ in range(threads):
            self._turns.put(False)

    def refuses(self) -> bool:
        """Whether one more request would have to wait for too long. To be asked for each one that comes."""
        now, length = self._clock(), len(self)
        if length == 0:
            self._empty_at = self._marked_at = self._moved_at = now
            self._marked = self._moved = self._put
            self._rate = 0.0
            return False
        self._measure(now, self._put - length)
        limit = BURST_WAIT if now - self._empty_at < BURST_WAIT else STANDING_WAIT
        expected = max(now - self._moved_at, length / self._rate if self._rate else 0.0)
        return length >= QUEUE_LIMIT or expected > limit

    def _measure(self, now: float, taken: int) -> None:
        """How many are taken in a second, and since when nobody was."""
        if taken != self._moved:
            self._moved, self._moved_at = taken, now
        count, seconds = taken - self._marked, now - self._marked_at
        if seconds >= _RATE_SECONDS or (count >= _RATE_SAMPLE and seconds > 0):
            self._rate = count / seconds
            self._marked, self._marked_at = taken, now


class Threads:
    """So many threads that do the same until it returns; the process does not wait for them when it ends."""

    def __init__(self, count: int, work: Callable[[], None], end: Callable[[int], None]) -> None:
        self._count = count
        self._end = end
        for number in range(count):
            threading.Thread(target=work, name=f"requests-{number}", daemon=True).start()

    def shutdown(self, wait: bool = True) -> None:
        """Lets them end; as gunicorn calls it."""
        self._end(self._count)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's threads behind a queue that refuses. Every answer is made by ThreadWorker.handle_request."""

    wsgi: Any
    poller: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.queue = Queue(at_work=getattr(settings, "THREADS_AT_WORK", math.inf))
        self.connections: dict[int, Connection] = {}
        self.listeners: dict[int, socket.socket] = {}
        self.buffer = ctypes.create_string_buffer(_RECEIVE_BYTES)
        self.busy = refusals.Refusal(refusals.BUSY)
        self.body_limit = getattr(settings, "BODY_LIMIT", math.inf)
        self.refused = self.told = 0
        self.next_tick = 0.0

    def get_thread_pool(self) -> Threads:
        """Called by gunicorn in the new process."""
        turns.are_given_by(self.queue.waiting)
        return Threads(self.cfg.threads, self.work, self.queue.end)

    def load_wsgi(self) -> None:
        """Called by gunicorn in the new process, too."""
        super().load_wsgi()
        self.application = self.wsgi
        self.wsgi = self.answer

    def run(self) -> None:
        """The main thread, until the worker shall end and has answered what it took."""
        self.poller.close()
        self.poller = select.epoll()
        self.poller.register(self.method_queue.fileno(), select.EPOLLIN)
        while self.alive and self.is_parent_alive():
            if len(self.connections) >= self.worker_connections:
                self.make_room()
            self.listen(len(self.connections) < self.worker_connections)
            self.turn(_TICK)
        self.stop_listening()
        until = time.monotonic() + self.cfg.graceful_timeout
        while self.connections and time.monotonic() < until:
            self.hurry()
            self.turn(0.1)
        self.tpool.shutdown(wait=False)
        for connection in list(self.connections.values()):
            self.drop(connection)
        self.poller.close()
        self.method_queue.close()

    def turn(self, seconds: float) -> None:
        """Waits for something to happen, for so long at most, and does what it calls for."""
        if self.is_behind():
            time.sleep(_GATHER)  # the threads have work for longer; each return from here costs one of them its turn
        if self.queue.urge():
            seconds = min(seconds, _URGE)
        events = self.poller.poll(seconds, 256)
        for fd, event in events:
            connection = self.connections.get(fd)
            if connection is not None:
                connection.ended = connection.ended or event != select.EPOLLIN
                self.look_at(connection)
            elif fd in self.listeners:
                self.accept(self.listeners[fd])
            else:
                self.method_queue.run_callbacks(None)
        now = time.monotonic()
        if now >= self.next_tick or not self.alive:
            self.next_tick = now + _TICK
            self.notify()
            self.queue.calm()
            self.end_overdue(now)
            self.tell()

    def is_behind(self) -> bool:
        """Whether the threads have work for longer."""
        threads: int = self.cfg.threads
        return len(self.queue) > 4 * threads

    # Connections come and go.

    def listen(self, wanted: bool) -> None:
        """Takes new connections, or leaves them to the other workers."""
        if wanted and not self.listeners:
            self.listeners = {listener.sock.fileno(): listener.sock for listener in self.sockets}
            for fd, listener in self.listeners.items():
                listener.setblocking(False)
                self.poller.register(fd, select.EPOLLIN)
        elif not wanted and self.listeners:
            for fd in self.listeners:
                self.poller.unregister(fd)
            self.listeners = {}

    def stop_listening(self) -> None:
        """Takes every connection that waits to be taken, and lets nobody wait any more.

        The port is closed when the last worker has done so: who comes later is told at once that nobody is here.
        """
        for listener in self.sockets:
            listener.sock.setblocking(False)
            for _ in range(self.cfg.backlog):
                if not self.take(listener.sock):
                    break
        self.listen(False)
        for listener in self.sockets:
            listener.close()

    def accept(self, listener: socket.socket) -> None:
        """Takes some of the new connections."""
        for _ in range(_ACCEPTS_BEHIND if self.is_behind() else _ACCEPTS):
            if not self.take(listener):
                return

    def take(self, listener: socket.socket) -> bool:
        """Takes one new connection; whether there was one."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _SHORT:
                self.log.warning("A connection cannot be taken: %s", error.strerror)
                time.sleep(0.05)  # nothing else would keep this from being tried again at once
            elif error.errno != errno.EAGAIN and error.errno not in _LOST:
                raise
            return error.errno in _LOST
        connection = Connection(self.cfg, client, address, listener.getsockname())
        connection.become(State.OPEN, self.cfg.keepalive)
        self.connections[connection.fd] = connection
        # Edge-triggered: registered once, and no system call for each request.
        self.poller.register(connection.fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        self.look_at(connection)
        return True

    def drop(self, connection: Connection) -> None:
        """Closes it."""
        if self.connections.get(connection.fd) is connection:
            del self.connections[connection.fd]
        connection.state = State.CLOSED
        connection.sock.close()

    def close_gently(self, connection: Connection) -> None:
        """Sends the end, and waits for the client to have read everything: a reset would take the answer from it."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(connection)
            return
        connection.become(State.CLOSING, LINGER_SECONDS)
        self.throw_away(connection)

    def throw_away(self, connection: Connection) -> None:
        """What a client sends to a connection that has had its last answer."""
        while data := self.receive(connection):
            connection.thrown_away += len(data)
            if connection.thrown_away > LINGER_BYTES:
                self.drop(connection)
                return
        if data is not None:
            self.drop(connection)

    def end_overdue(self, now: float) -> None:
        """Ends the connections whose time has run out."""
        overdue = [one for one in self.connections.values() if one.deadline <= now or one.sock.fileno() < 0]
        for connection in overdue:
            if connection.state is not State.READING:
                self.drop(connection)
            else:
                self.answer_and_close(connection, refusals.TOO_SLOW)

    def make_room(self) -> None:
        """Ends the connections whose request has been awaited for longest: they must not keep everybody else out."""
        latest = time.monotonic() - STOP_KEEPALIVE_LINGER
        awaited = [one for one in self.connections.values() if one.is_awaited() and one.since <= latest]
        awaited.sort(key=lambda one: one.since)
        for connection in awaited[: max(1, self.worker_connections // 10)]:
            self.look_at(connection)  # something may have come just now
            # Not gently: that would keep the place for as long again.
            if connection.state is State.READING:
                self.complain(connection, refusals.TOO_SLOW)
            if connection.is_awaited():
                self.drop(connection)

    def hurry(self) -> None:
        """While the worker ends, a connection without a request stays only for one that may be on its way.

        One whose head is there has been begun: its body may arrive.
        """
        latest = time.monotonic() + STOP_KEEPALIVE_LINGER
        for connection in self.connections.values():
            if connection.is_awaited() and not connection.enough:
                connection.deadline = min(connection.deadline, latest)

    # Requests.

    def look_at(self, connection: Connection) -> None:
        """Reads what has arrived, until it is enough of a request, and does what the request calls for."""
        connection.more = True  # before the state is looked at: see `done`
        if connection.state in (State.BUSY, State.CLOSED):
            return
        if connection.state is State.CLOSING:
            self.throw_away(connection)
            return
        for _ in range(_LOOKS):
            if connection.head.startswith((b"\r", b"\n")) and not self.is_rid_of_blanks(connection):
                return
            if connection.enough or b"\r\n\r\n" in connection.head:
                if self.queue.refuses():
                    if not self.refuse(connection) or not (connection.head or connection.more):
                        return
                    continue
                if connection.enough <= len(connection.head) and self.is_enough(connection):
                    self.give(connection)
                    return
                if connection.fd not in self.connections:  # dropped: it did not take what it was told
                    return
            elif connection.head and not self.is_plausible(connection):
                return
            data = self.receive(connection)
            if data is None:
                return
            if not data:
                if connection.enough:
                    self.answer_and_close(connection, refusals.CUT_SHORT)
                else:
                    self.drop(connection)
                return
            connection.head += data
        self.method_queue.defer(self.look_at, connection)  # when the others have had their turn

    def is_enough(self, connection: Connection) -> bool:
        """Whether what is here of a request, at least its head, is enough for a thread; begins to wait for more if not.

        A body that is too long is not waited for: the application says so at once.
        """
        if connection.enough:
            return True
        end = connection.head.index(b"\r\n\r\n") + 4
        lowered = connection.head[:end].lower()
        length = _LENGTH.search(lowered)
        size = int(length[1]) if length else 0
        if size > self.body_limit:
            size = 0
        connection.enough = max(end, min(end + size, AHEAD_LIMIT))
        missing = connection.enough - len(connection.head)
        if missing <= 0:
            return True
        connection.become(State.READING, BODY_SECONDS + missing / BODY_RATE)
        if _EXPECTS.match(lowered):
            self.send(connection, _CONTINUE)
        return False

    def give(self, connection: Connection) -> None:
        """The request waits for a thread."""
        connection.state = State.BUSY
        connection.deadline = math.inf
        connection.blank = connection.enough = 0
        self.queue.put(connection)

    def is_rid_of_blanks(self, connection: Connection) -> bool:
        """Takes empty lines before a request away; it has been answered if there are too many."""
        length = len(connection.head)
        connection.head = connection.head.lstrip(b"\r\n")
        connection.blank += length - len(connection.head)
        if connection.blank <= BLANK_LIMIT:
            return True
        self.answer_and_close(connection, refusals.NOT_HTTP)
        return False

    def is_plausible(self, connection: Connection) -> bool:
        """Whether to wait for the rest of a head; it has been answered if not."""
        if connection.state is State.OPEN:
            connection.become(State.READING, HEAD_SECONDS)
        line, ended, _ = connection.head.partition(b"\r\n")
        if len(line) > self.cfg.limit_request_line:
            problem = refusals.LINE_TOO_LONG
        elif len(connection.head) > HEAD_LIMIT:
            problem = refusals.HEAD_TOO_LARGE
        elif ended and not _REQUEST_LINE.fullmatch(line):
            problem = refusals.NOT_HTTP
        else:
            return True
        self.answer_and_close(connection, problem)
        return False

    def refuse(self, connection: Connection) -> bool:
        """Answers 503; whether the connection goes on: not if a body would have to be read."""
        self.refused += 1
        answer, last = self.refusal_of(connection)
        if not self.send(connection, answer):
            return False
        if last:
            self.close_gently(connection)
            return False
        connection.become(State.OPEN, self.cfg.keepalive)
        connection.blank = connection.enough = 0
        return True

    def refusal_of(self, connection: Connection) -> tuple[bytes, bool]:
        """The answer to a request that is not served, and whether it is the last one; the request is taken away."""
        head, end, rest = connection.head.partition(b"\r\n\r\n")
        head += end
        lowered = head.lower()
        if _is_plain(lowered):
            connection.head = rest
            last = self.is_last()
            return self.busy.plain(close=last), last
        length = _LENGTH.search(lowered)
        size = int(length[1]) if length else 0
        last = (
            self.is_last()
            or size > len(rest)
            or lowered.count(b"content-length") != (1 if length else 0)
            or lowered.startswith(b"connect ")
            or b"\r\n " in lowered  # where such a request ends, others may see otherwise
            or b"\r\n\t" in lowered
            or b"transfer-encoding" in lowered
            or lowered.partition(b"\r\n")[0].endswith(b" http/1.0")
            or _CLOSE.search(lowered) is not None
        )
        connection.head = rest[size:]
        return self.busy.to(head, close=last, lowered=lowered), last

    def answer_and_close(self, connection: Connection, problem: Problem) -> None:
        """Tells what was wrong with a request that is not complete."""
        if self.complain(connection, problem):
            self.close_gently(connection)

    def complain(self, connection: Connection, problem: Problem) -> bool:
        """The same for a connection that is closed afterwards; whether it is still there."""
        head = connection.head if connection.enough else b""  # of which nothing is known before it is there
        request_id = context.begin_request(refusals.id_in(head))
        self.log.warning("Invalid request from ip=%s: %s", connection.client[0], problem.detail)
        context.end_request()
        return self.send(connection, refusals.Refusal(problem).to(head, close=True, request_id=request_id))

    def receive(self, connection: Connection) -> bytes | None:
        """What has arrived; empty at the end, or when the connection is broken; None when nothing has."""
        connection.more = False
        size = _recv(connection.fd, self.buffer, _RECEIVE_BYTES, _NOW)
        if size > 0:
            connection.more = connection.ended or size == _RECEIVE_BYTES
            return self.buffer[:size]  # type: ignore[return-value]  # of an array of characters it is bytes
        return None if size < 0 and ctypes.get_errno() in (errno.EAGAIN, errno.EINTR) else b""

    def send(self, connection: Connection, answer: bytes) -> bool:
        """Sends a short answer; the connection is dropped if the client does not take it."""
        if _send(connection.fd, answer, len(answer), _NOW) == len(answer):
            return True
        self.drop(connection)
        return False

    def tell(self) -> None:
        """Counts and logs what was refused since the last time."""
        count, self.told = self.refused - self.told, self.refused
        if count:
            REFUSED.inc(count)
            self.log.warning("Refused %d requests: more come than can be served", count)

    def is_last(self) -> bool:
        """Whether an answer that begins now is the last one of its connection."""
        return not self.alive or management.draining() or len(self.connections) > self.worker_connections * 0.9

    # Threads.

    def answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        """The application, whose answers say that they are the last ones when they are, and not as it was before."""

        def start(*arguments: Any) -> Any:
            response = start_response.__self__  # gunicorn's
            if self.is_last() or not _is_here(response.req):
                response.force_close()
            write = start_response(*arguments)
            if response.response_length and not response._omits_body:
                response.sock = Together(response.sock)
            return write

        return self.application(environ, start)

    def work(self) -> None:
        """What each thread does: one request after the other."""
        try:
            self.work_on()
        finally:
            self.queue.leave()

    def work_on(self) -> None:
        """Until there is nothing more to do."""
        while connection := self.queue.take():
            waited = time.monotonic() - connection.waiting_since
            context.bind_wait(waited)
            goes_on = False
            try:
                goes_on = self.handle(connection) if waited < BURST_WAIT else self.refuse_late(connection)
            except BaseException:
                self.log.exception("A thread failed")
            self.done(connection, goes_on)

    def handle(self, connection: Connection) -> bool:
        """Answers the request; whether the connection goes on."""
        head = connection.head
        try:
            connection.sock.setblocking(True)  # it may be otherwise since a body was read
            connection.init()
            connection.sock.begin_answer()
            connection.parser.unreader.unread(head)
            connection.head = b""
            request = next(connection.parser)
            request._expected_100_continue = False  # `is_enough` has told the client, if it had to be
            goes_on = self._keepalive_after(connection, self.handle_request(request, connection))
            connection.head = connection.parser.unreader.take_buffered()
            return goes_on
        except (NoMoreData, StopIteration):
            pass  # the client is gone
        except OSError as error:
            if error.errno not in _CLIENT_GONE:
                self.log.exception("Socket error processing request.")
        except Exception as error:  # noqa: BLE001 - whatever a parser or an application raises has an answer
            self.explain(connection, head, error)
        return False

    def _keepalive_after(self, connection: Connection, keepalive: bool) -> bool:
        """As gunicorn's, which sets timeouts before it looks whether anything of the body is left."""
        body = connection.parser.mesg.body
        if keepalive and not body.failed and isinstance(body.reader, LengthReader) and body.reader.length == 0:
            return True
        return bool(super()._keepalive_after(connection, keepalive))

    def refuse_late(self, connection: Connection) -> bool:
        """Answers 503 where the wait became longer than it was expected to be; whether the connection goes on."""
        REFUSED.inc()
        answer, last = self.refusal_of(connection)
        with contextlib.suppress(OSError):
            connection.sock.sendall(answer)
            return not last
        return False

    def explain(self, connection: Connection, head: bytes, error: Exception) -> None:
        """Answers a request that could not be read, or that the application could not answer."""
        request_id = context.begin_request(refusals.id_in(head))
        problem = refusals.problem_of(error)
        if problem.code == "internal_error":
            self.log.error("Error handling request", exc_info=error)
        else:
            self.log.warning("Invalid request from ip=%s: %s", connection.client[0], problem.detail)
        context.end_request()
        with contextlib.suppress(OSError):
            connection.sock.sendall(refusals.Refusal(problem).unread(request_id))

    def done(self, connection: Connection, goes_on: bool) -> None:
        """Gives the connection back to the main thread, which is woken up only if there is something to do."""
        if not goes_on:
            self.method_queue.defer(self.close_gently, connection)
            return
        # First the state, then `more`, and in `look_at` the other way round: one of them sees what arrives meanwhile.
        connection.become(State.OPEN, self.cfg.keepalive)
        if connection.more or connection.head:
            self.method_queue.defer(self.look_at, connection)


def _is_plain(lowered: bytes) -> bool:
    """Whether a head, in small letters, is one of a GET of HTTP/1.1 with nothing on which its refusal depends."""
    return (
        lowered.startswith(b"get ")
        and lowered.startswith(b" http/1.1\r\n", lowered.index(b"\r\n") - 9)
        and _SPECIAL.search(lowered) is None
        and lowered.count(b"\r") == lowered.count(b"\r\n")
    )


def _is_here(request: Any) -> bool:
    """Whether what is left of the body of gunicorn's Request need not be waited for."""
    reader = request.body.reader
    return isinstance(reader, LengthReader) and reader.length <= min(len(request.unreader.buf.getbuffer()), _DISCARDED)
