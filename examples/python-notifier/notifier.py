#!/usr/bin/env python3
"""The notification service of course enrollment, in Python, with nothing but the standard library.

It follows the events of the order, pay and reservation services (`GET /events`, server-sent events), tells the customer of
each change once, and serves what it knows:

    GET /notifications   what was sent            GET /notifications/search/findByOrderId?orderId=7
    GET /infomations     a row for each order     GET /infomations/search/findByOrderId?orderId=7
    GET /actuator/health

Each event is applied in one transaction together with the position behind it. So each effect happens exactly once, whichever
process is killed when: after a crash the service asks for the events after its position (`Last-Event-ID`), which are exactly
those whose effects are not there.
"""

import argparse
import http.client
import json
import re
import sqlite3
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# An order, a payment and a reservation each have a status that only rises, in this order.
RANKS = {
    "order_status": ["Payment Delayed", "Ordered", "Order Canceled"],
    "pay_status": ["Pay Request", "Paid", "Payment Canceled"],
    "reservation_status": ["Reservation Requested", "Reservation Confirmed", "Course Started", "Reservation Canceled"],
}
# The field of the view that each event changes. Events of other types are of a later release: they are ignored.
COLUMNS = {
    "Ordered": "order_status",
    "PaymentSettled": "order_status",
    "OrderCanceled": "order_status",
    "Paid": "pay_status",
    "PaymentCanceled": "pay_status",
    "Reserved": "reservation_status",
    "CourseStarted": "reservation_status",
    "ReservationCanceled": "reservation_status",
}
SCHEMA = """
    CREATE TABLE IF NOT EXISTS positions (service TEXT PRIMARY KEY, last_event_id TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS infomations (
        id INTEGER PRIMARY KEY, order_id TEXT, order_status TEXT, pay_status TEXT, reservation_status TEXT);
    CREATE TABLE IF NOT EXISTS notifications (
        id INTEGER PRIMARY KEY, enrollment_id INTEGER NOT NULL, order_id TEXT NOT NULL, customer_id TEXT NOT NULL,
        edu_no INTEGER NOT NULL, kind TEXT NOT NULL, told TEXT NOT NULL, status TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS notifications_to_send ON notifications (id) WHERE status = 'Requested';
"""
HEARTBEAT_LIMIT_S = 45  # a service says at least every 15 s that it is there


def messages(kind, event):
    """The messages about an event: their kind and the status that they tell. As the service in Rust words them."""
    status = event["status"]
    if kind == "Ordered" and status == "Payment Delayed":
        return [("PaymentDelayed", status)]
    if kind in ("Ordered", "PaymentSettled"):
        return [(kind, status), ("Paid", "Paid")]  # told once its order stands: nobody hears of a payment for no order
    if kind == "PaymentCanceled":
        return [] if event.get("voided") else [(kind, status)]
    if kind == "Reserved":
        return [("Reserved" if status == "Reservation Requested" else "ReservationConfirmed", status)]
    if kind in ("OrderCanceled", "CourseStarted", "ReservationCanceled"):
        return [(kind, status)]
    return []


class Database:
    """What this service knows. One connection for writing; `synchronous = FULL`: what is committed is on disk."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.connection = self.connect()
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.executescript(SCHEMA)

    def connect(self):
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=10)
        connection.execute("PRAGMA synchronous = FULL")
        connection.row_factory = sqlite3.Row
        return connection

    def position(self, service):
        with self.lock:
            row = self.connection.execute("SELECT last_event_id FROM positions WHERE service = ?", [service]).fetchone()
        return row and row[0]

    def apply(self, service, last_event_id, kind, event):
        """The event's effect and the position behind it, in one transaction. `kind` is None for a position alone."""
        with self.lock:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                if kind in COLUMNS:
                    self._fold(kind, event)
                    for message in messages(kind, event):
                        self._request(message, event)
                self.connection.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", [service, last_event_id])
                self.connection.execute("COMMIT")
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise

    def _fold(self, kind, event):
        column, key = COLUMNS[kind], event["id"]
        self.connection.execute("INSERT OR IGNORE INTO infomations (id) VALUES (?)", [key])
        old = self.connection.execute(f"SELECT {column} FROM infomations WHERE id = ?", [key]).fetchone()[0]
        ranks = RANKS[column]
        if old is None or ranks.index(event["status"]) > ranks.index(old):
            self.connection.execute(f"UPDATE infomations SET {column} = ? WHERE id = ?", [event["status"], key])
        if kind == "Ordered":
            self.connection.execute("UPDATE infomations SET order_id = ? WHERE id = ?", [json.dumps(event["orderId"]), key])

    def _request(self, message, event):
        kind, told = message
        self.connection.execute(
            "INSERT INTO notifications (enrollment_id, order_id, customer_id, edu_no, kind, told, status)"
            " VALUES (?, ?, ?, ?, ?, ?, 'Requested')",
            [event["id"], json.dumps(event["orderId"]), json.dumps(event.get("customerId")), event["eduNo"], kind, told],
        )

    def next_to_send(self):
        with self.lock:
            return self.connection.execute(
                "SELECT * FROM notifications WHERE status = 'Requested' ORDER BY id LIMIT 1"
            ).fetchone()

    def sent(self, notification_id):
        with self.lock:
            self.connection.execute("UPDATE notifications SET status = 'Sent' WHERE id = ?", [notification_id])


class Follower(threading.Thread):
    """Follows the events of one service, for ever: reconnects after the last event whose effect is committed."""

    def __init__(self, service, url, database, wake):
        super().__init__(name=f"follow {service}", daemon=True)
        self.service, self.url, self.database, self.wake = service, urllib.parse.urlsplit(url), database, wake
        self.trouble, self.has_given_up = "not connected yet", False

    def run(self):
        while not self.has_given_up:
            try:
                self.follow()
            except (OSError, http.client.HTTPException, sqlite3.Error, ValueError, KeyError) as error:
                self.trouble = f"{type(error).__name__}: {error}"
            time.sleep(0.5)

    def follow(self):
        connection = http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=HEARTBEAT_LIMIT_S)
        headers = {"Accept": "text/event-stream"}
        position = self.database.position(self.service)
        if position:
            headers["Last-Event-ID"] = position
        try:
            connection.request("GET", "/events", headers=headers)
            response = connection.getresponse()
            if response.status == 409:
                return self.give_up(response.read().decode())
            if response.status != 200:
                raise http.client.HTTPException(f"{response.status}: {response.read().decode()}")
            self.trouble = None
            for last_event_id, kind, data in read_events(response):
                self.database.apply(self.service, last_event_id, kind, json.loads(data) if data else None)
                self.wake.set()
            raise http.client.HTTPException("the service has ended the stream")
        finally:
            connection.close()

    def give_up(self, problem):
        # The events were replaced: what is known here does not belong to them. An operator decides.
        self.has_given_up = True
        self.trouble = f"{problem}. Move {self.database.path} away and start again: all is read anew."
        print(f"{self.service}: {self.trouble}", file=sys.stderr, flush=True)


def read_events(lines):
    """Parses server-sent events (WHATWG HTML, section 9.2.6): yields id, type and data; data is None for an id alone."""
    last_event_id, kind, data = None, None, []
    for line in lines:
        line = line.decode().rstrip("\r\n")
        if not line:
            if last_event_id is not None:
                yield last_event_id, kind, "\n".join(data) if data else None
            last_event_id, kind, data = None, None, []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "id":
            last_event_id = value
        elif field == "event":
            kind = value
        elif field == "data":
            data.append(value)


class Sender(threading.Thread):
    """Sends what is to be sent, oldest first. Here that is a line on standard output; the id lets a receiver drop a repeat."""

    def __init__(self, database, wake):
        super().__init__(name="send", daemon=True)
        self.database, self.wake = database, wake

    def run(self):
        while True:
            self.wake.wait(timeout=1)
            self.wake.clear()
            while row := self.database.next_to_send():
                line = {"id": row["id"], "to": json.loads(row["customer_id"]), "kind": row["kind"], "status": row["told"]}
                print(json.dumps(line, ensure_ascii=False), flush=True)
                self.database.sent(row["id"])


def notification(row):
    return {
        "id": row["id"],
        "enrollmentId": row["enrollment_id"],
        "orderId": json.loads(row["order_id"]),
        "customerId": json.loads(row["customer_id"]),
        "eduNo": row["edu_no"],
        "kind": row["kind"],
        "told": row["told"],
        "status": row["status"],
    }


def infomation(row):
    return {
        "id": row["id"],
        "orderId": json.loads(row["order_id"]),
        "orderStatus": row["order_status"],
        "payStatus": row["pay_status"],
        "reservationStatus": row["reservation_status"],
    }


# A row of the view is shown once its order is known.
COLLECTIONS = {"notifications": ("1", notification), "infomations": ("order_id IS NOT NULL", infomation)}
PATH = re.compile(r"/(notifications|infomations)(?:/(\d+)|/search/(findByOrderId))?")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path.startswith("/actuator/health"):
            return self.health()
        found = PATH.fullmatch(url.path)
        if not found:
            return self.problem(404, "not-found", f"Nothing is served at {url.path}.")
        name, row_id, finder = found.groups()
        database = self.server.database.connect()
        try:
            if row_id:
                return self.one(database, name, int(row_id))
            if finder and "orderId" not in query:
                return self.problem(422, "invalid", "orderId is required")
            return self.page(database, name, query, query.get("orderId") if finder else None)
        except ValueError as error:
            return self.problem(422, "invalid", str(error))
        finally:
            database.close()

    def one(self, database, name, row_id):
        shown, render = COLLECTIONS[name]
        row = database.execute(f"SELECT * FROM {name} WHERE {shown} AND id = ?", [row_id]).fetchone()
        if row is None:
            return self.problem(404, "not-found", "There is nothing of this id.")
        return self.answer(200, "application/hal+json", self.linked(name, render(row)))

    def page(self, database, name, query, order_id):
        shown, render = COLLECTIONS[name]
        number, size = max(int(query.get("page", 0)), 0), min(max(int(query.get("size", 20)), 1), 1000)
        where, values = f"WHERE {shown}", []
        if order_id is not None:  # the client's reference, a text or a number
            where, values = f"{where} AND order_id IN (?, ?)", [order_id, json.dumps(order_id)]
        total = database.execute(f"SELECT count(*) FROM {name} {where}", values).fetchone()[0]
        rows = database.execute(f"SELECT * FROM {name} {where} ORDER BY id LIMIT ? OFFSET ?", [*values, size, number * size])
        pages = -(-total // size)
        self.answer(200, "application/hal+json", {
            "_embedded": {name: [self.linked(name, render(row)) for row in rows]},
            "_links": {"self": {"href": f"/{name}?page={number}&size={size}"}},
            "page": {"size": size, "totalElements": total, "totalPages": pages, "number": number},
        })

    @staticmethod
    def linked(name, document):
        return document | {"_links": {"self": {"href": f"/{name}/{document['id']}"}}}

    def health(self):
        troubles = {follower.service: follower.trouble for follower in self.server.followers}
        is_up = not any(troubles.values())
        components = {
            service: {"status": "DOWN" if trouble else "UP", "details": {"trouble": trouble}}
            for service, trouble in troubles.items()
        }
        self.answer(200 if is_up else 503, "application/json", {"status": "UP" if is_up else "DOWN", "components": components})

    def problem(self, status, code, detail):
        body = {"type": f"urn:jumun:problem:{code}", "status": status, "detail": detail, "instance": self.path}
        self.answer(status, "application/problem+json", body)

    def answer(self, status, media_type, body):
        body = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass  # a line for each request is for debugging


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--order", default="http://127.0.0.1:8081", metavar="URL", help="the order service")
    parser.add_argument("--pay", default="http://127.0.0.1:8082", metavar="URL", help="the pay service")
    parser.add_argument("--reservation", default="http://127.0.0.1:8083", metavar="URL", help="the reservation service")
    parser.add_argument("--listen", default="127.0.0.1:8084", metavar="ADDRESS", help="where this service listens")
    parser.add_argument("--database", default="notifier.db", metavar="FILE", help="where it keeps what it knows")
    options = parser.parse_args()

    database, wake = Database(options.database), threading.Event()
    services = {"order": options.order, "pay": options.pay, "reservation": options.reservation}
    followers = [Follower(service, url, database, wake) for service, url in services.items()]
    host, _, port = options.listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.database, server.followers = database, followers
    for thread in [*followers, Sender(database, wake)]:
        thread.start()
    wake.set()  # what an earlier process did not send
    print(f"listening on {options.listen}", file=sys.stderr, flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
