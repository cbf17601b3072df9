"""What the API needs of a client and a schema cannot say."""

import re
import uuid

import schemathesis

# A schema cannot say which of these there are: every new database of book rental has five books.
BOOKS = 5


# An id as the schema has it: a whole number, or a text of one.
ID_MAX = 2**63 - 1
ID_TEXT = r" *0*([1-9][0-9]{0,16})(\.0+)? *"


def as_id(value):
    if isinstance(value, str):
        found = re.fullmatch(ID_TEXT, value)
        return int(found[1]) if found else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 1 <= value <= ID_MAX and value == int(value) else None


@schemathesis.hook
def before_call(context, case, kwargs):
    for name in list(case.headers or {}):
        if name.lower() == "jumun-seen":  # it names an event that exists
            del case.headers[name]
        elif name.lower() == "idempotency-key":  # one request, one key
            case.headers[name] = str(uuid.uuid4())
    book = as_id(case.body.get("bookId")) if isinstance(case.body, dict) else None
    if book is not None:
        case.body["bookId"] = book % BOOKS + 1
