"""A server on the Python SDK 1.x that is its own OAuth server: server1_oauth.py PORT URL, which is where clients reach it. See ./README.md."""

import secrets
import sys
import time

from mcp.server.auth.provider import AccessToken, AuthorizationCode, construct_redirect_uri
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.fastmcp import FastMCP
from mcp.shared.auth import OAuthToken


class Provider:
    """Lets everyone in who registers and asks. Everything is in memory."""

    def __init__(self):
        self.clients, self.codes, self.tokens = {}, {}, {}

    async def get_client(self, client_id):
        return self.clients.get(client_id)

    async def register_client(self, client):
        self.clients[client.client_id] = client

    async def authorize(self, client, params):
        code = AuthorizationCode(
            code=secrets.token_urlsafe(32),
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(self, client, code):
        return self.codes.get(code)

    async def exchange_authorization_code(self, client, code):
        del self.codes[code.code]
        token = AccessToken(token=secrets.token_urlsafe(32), client_id=client.client_id, scopes=code.scopes, resource=code.resource)
        self.tokens[token.token] = token
        return OAuthToken(access_token=token.token, expires_in=3600)

    async def load_refresh_token(self, client, token):
        return None

    async def load_access_token(self, token):
        return self.tokens.get(token)


port, public = int(sys.argv[1]), sys.argv[2]
settings = AuthSettings(
    issuer_url=public,
    resource_server_url=f"{public}/mcp",
    validate_token_resource=True,
    client_registration_options=ClientRegistrationOptions(enabled=True),
)
server = FastMCP("demo", host="127.0.0.1", port=port, auth=settings, auth_server_provider=Provider(), log_level="WARNING")


@server.tool()
def search(q: str) -> str:
    return f"found {q}"


print(f"http://127.0.0.1:{port}/mcp", flush=True)
server.run(transport="streamable-http")
