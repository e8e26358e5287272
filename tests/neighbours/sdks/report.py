"""What both Python clients have in common: the script of ./README.md, around an SDK's way to list and to call."""

import asyncio
import json
import re

PATIENCE = 5


class Report:
    def __init__(self):
        self.said = dict(revision=None, tools=[], calls=0, error=None, wait=None, place=None, alive=False, again=False)

    def denied(self, error, place, text, wait=None):
        if wait is None:
            found = re.search(r'(?:retryAfterSeconds\\*"\s*:\s*|Try again in )([0-9.]+[0-9])', text)
            wait = float(found.group(1)) if found else None
        self.said.update(error=error, wait=wait, place=place if wait is not None else None)

    def failed(self, error):
        """An exception that a call raised."""
        details = getattr(error, "error", None)
        if details is None or not hasattr(details, "code"):
            return self.denied(type(error).__name__, "text", str(error))
        wait = (details.data or {}).get("retryAfterSeconds")
        self.denied(f"{type(error).__name__} {details.code}", "data", details.message, wait)

    async def run(self, tools, call):
        """`tools` lists names, `call` gives back whether it went well, and the text of the result."""
        self.said["tools"] = await tools()
        for _ in range(5):
            try:
                well, text = await asyncio.wait_for(call(), PATIENCE)
            except (Exception, asyncio.CancelledError) as error:
                self.failed(error)
                break
            if not well:
                self.denied("tool result with isError", "result", text)
                break
            self.said["calls"] += 1
        try:
            self.said["alive"] = bool(await asyncio.wait_for(tools(), PATIENCE))
            await asyncio.sleep(2.5 if self.said["wait"] is None else self.said["wait"])
            self.said["again"], _ = await asyncio.wait_for(call(), PATIENCE)
        except (Exception, asyncio.CancelledError):
            pass  # The session is gone, which is what the report says.

    def tell(self):
        print(json.dumps(self.said), flush=True)
