"""What the API needs of a client and a schema cannot say."""

import re
import uuid

import schemathesis

# A schema cannot say which of these there are: every new database of book rental has five books.
BOOKS = 5


def is_id(value):
    return re.fullmatch("[1-9][0-9]*", str(value)) is not None


@schemathesis.hook
def before_call(context, case, kwargs):
    for name in list(case.headers or {}):
        if name.lower() == "jumun-seen":  # it names an event that exists
            del case.headers[name]
        elif name.lower() == "idempotency-key":  # one request, one key
            case.headers[name] = str(uuid.uuid4())
    if isinstance(case.body, dict) and is_id(case.body.get("bookId")):
        case.body["bookId"] = int(case.body["bookId"]) % BOOKS + 1
