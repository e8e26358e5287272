"""A client on the Python SDK 1.x: python1.py URL. See ./README.md."""

import asyncio
import logging
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from report import Report


async def main(report):
    async with streamablehttp_client(sys.argv[1]) as (reads, writes, _), ClientSession(reads, writes) as session:
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
