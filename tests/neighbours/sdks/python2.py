"""A client on the Python SDK 2.x: python2.py URL. See ./README.md."""

import asyncio
import logging
import sys

from mcp.client.client import Client

from report import Report


async def main(report):
    async with Client(sys.argv[1]) as client:
        report.said["revision"] = client.session.protocol_version

        async def tools():
            return [tool.name for tool in (await client.list_tools()).tools]

        async def call():
            result = await client.call_tool("search", {"q": "rust"})
            return not result.is_error, "".join(part.text for part in result.content)

        await report.run(tools, call)


logging.disable(logging.CRITICAL)
report = Report()
asyncio.run(main(report))
report.tell()
