"""A client on the Python SDK 1.x that signs in with OAuth: python1_oauth.py URL. See ./README.md."""

import asyncio
import logging
import sys
from urllib.parse import parse_qs, urlparse

import httpx
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared.auth import OAuthClientMetadata

from report import Report


class Memory:
    def __init__(self):
        self.tokens = self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Person:
    """Opens the page to which the client sends it, and comes back."""

    async def open(self, url):
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(url)
        self.came_back = parse_qs(urlparse(answer.headers["location"]).query)

    async def back(self):
        return self.came_back["code"][0], self.came_back["state"][0]


async def main(report):
    person = Person()
    metadata = OAuthClientMetadata(client_name="neighbour", redirect_uris=["http://localhost:1/callback"])
    auth = OAuthClientProvider(sys.argv[1], metadata, Memory(), person.open, person.back)
    async with streamablehttp_client(sys.argv[1], auth=auth) as (reads, writes, _), ClientSession(reads, writes) as session:
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
except BaseException as error:
    print(f"{error!r} {getattr(error, 'exceptions', '')}", file=sys.stderr)
report.tell()
