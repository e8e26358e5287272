"""Calls a tool until it is denied, waits as long as it is told, and calls again, in one session."""

import asyncio
import math
import sys

from mcp import MCPError
from mcp.client.client import Client


async def main(url):
    async with Client(url) as client:
        for number in range(1, 100):
            try:
                result = await client.call_tool("search", {"q": "rust"})
                print(f"call {number}: {result.content[0].text}")
            except MCPError as error:
                told = error.error.data
                wait = told["retryAfterSeconds"]
                print(f"call {number}: {error.error.message} ({told['limitType']} of {told['tool']}), again in {math.ceil(wait)} s")
                break
        await asyncio.sleep(wait)
        result = await client.call_tool("search", {"q": "rust"})
        print(f"then: {result.content[0].text}")


asyncio.run(main(sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8080/mcp"))
