"""A server on the Python SDK 1.x: server1.py PORT json|sse|older, which is how it answers calls. See ./README.md."""

import sys

from mcp.server.fastmcp import FastMCP

port, answers = int(sys.argv[1]), sys.argv[2]
server = FastMCP("demo", host="127.0.0.1", port=port, json_response=answers == "json", log_level="WARNING")


@server.tool()
def search(q: str) -> str:
    return f"found {q}"


print(f"http://127.0.0.1:{port}/{'sse' if answers == 'older' else 'mcp'}", flush=True)
server.run(transport="sse" if answers == "older" else "streamable-http")
