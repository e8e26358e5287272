"""Calls a tool until it is denied, waits for the given time, and calls again, in one session."""

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
                denial = error.error.data
                wait = denial["retryAfterSeconds"]
                print(f"call {number}: {error.error.message} ({denial['limitType']} of {denial['tool']}), again in {math.ceil(wait)} s")
                break
        await asyncio.sleep(wait)
        result = await client.call_tool("search", {"q": "rust"})
        print(f"then: {result.content[0].text}")


asyncio.run(main(sys.argv[1] if sys.argv[1:] else "http://127.0.0.1:8080/mcp"))
