"""Says which tools a body calls, as programs in Python may read it: a body in hex a line in, a JSON list of readings a line out.

A reading is a list of tool names, null for a name that is none, or null when the body cannot be read.
"""

import json
import sys


def first_wins(pairs):
    found = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def any_case(pairs):
    return {name.casefold(): value for name, value in pairs}


READERS = [
    json.loads,
    lambda body: json.loads(body, object_pairs_hook=first_wins),
    lambda body: json.loads(body, object_pairs_hook=any_case),
    lambda body: json.loads(body.decode("utf-8-sig", "replace"), strict=False),
]


def member(value, name):
    return value.get(name) if isinstance(value, dict) else None


def named(value, name):
    found = member(value, name)
    return found if isinstance(found, str) and found else None


def tool(params):
    name = member(params, "name")
    if not isinstance(name, str):
        return None
    if name == "call_tool":
        arguments = member(params, "arguments")
        inner = named(arguments, "tool_name") or named(member(arguments, "parameters"), "tool_name")
        name = inner or named(arguments, "name") or name
    return name.encode("utf-8", "replace").decode()


def tools(body):
    messages = body if isinstance(body, list) else [body]
    return [tool(member(message, "params")) for message in messages if member(message, "method") == "tools/call"]


def reading(reader, body):
    try:
        return tools(reader(body))
    except (ValueError, RecursionError):
        return None


for line in sys.stdin:
    body = bytes.fromhex(line)
    print(json.dumps([reading(reader, body) for reader in READERS]), flush=True)
