"""An MCP server with one tool, on http://127.0.0.1:9000/mcp. Needs the official SDK: pip install "mcp>=2"."""

import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("demo", log_level="WARNING")


@server.tool()
def search(q: str) -> str:
    return f"found {q}"


server.run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[1]) if sys.argv[1:] else 9000)
