"""A client on the Python SDK 1.x: python1.py URL, over the older HTTP+SSE where the URL ends with /sse. See ./README.md."""

import asyncio
import logging
import sys

from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client

from report import Report


async def main(report):
    connect = sse_client if sys.argv[1].endswith("/sse") else streamablehttp_client
    async with connect(sys.argv[1]) as (reads, writes, *_), ClientSession(reads, writes) as session:
        report.said["revision"] = (await session.initialize()).protocolVersion

        async def tools():
            return [tool.name for tool in (await session.list_tools()).tools]

        async def call():
            result = await session.call_tool("search", {"q": "rust"})
            return not result.isError, "".join(part.text for part in result.content)

        await report.run(tools, call)


logging.disable(logging.CRITICAL)
report = Report()
try:
    asyncio.run(main(report))
except BaseException:
    pass  # An SDK whose session died may raise while it is closed; the report is complete all the same.
report.tell()
