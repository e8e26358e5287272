"""A server on the Python SDK 2.x, which speaks MCP 2026-07-28: server2.py PORT json|sse. See ./README.md."""

import sys

from mcp.server.mcpserver import MCPServer

port, answers = int(sys.argv[1]), sys.argv[2]
server = MCPServer("demo", log_level="WARNING")


@server.tool()
def search(q: str) -> str:
    return f"found {q}"


print(f"http://127.0.0.1:{port}/mcp", flush=True)
server.run(transport="streamable-http", host="127.0.0.1", port=port, json_response=answers == "json")
