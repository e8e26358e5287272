// A client on the TypeScript SDK: node typescript.cjs URL FOLDER PACKAGE, the last two being where which of the SDK's packages is
// (@modelcontextprotocol/sdk of 1.x, @modelcontextprotocol/client of 2.x); over the older HTTP+SSE where the URL ends with /sse. See ./README.md.

const { createRequire } = require("node:module");
const { setTimeout: sleep } = require("node:timers/promises");

const PATIENCE = 5000;
const [url, folder, package] = process.argv.slice(2);

function sdk() {
  const load = createRequire(`${folder}/`);
  if (package === "@modelcontextprotocol/client") return load(package);
  const modules = ["index", "streamableHttp", "sse"].map((name) => load(`${package}/client/${name}.js`));
  return Object.assign({}, ...modules);
}

async function inTime(promise) {
  const late = sleep(PATIENCE, undefined, { ref: false }).then(() => Promise.reject(new Error("no answer in time")));
  return await Promise.race([promise, late]);
}

const report = { revision: null, tools: [], calls: 0, error: null, wait: null, place: null, alive: false, again: false };

function denied(error, place, text, wait) {
  const found = /(?:retryAfterSeconds\\*"\s*:\s*|Try again in )([0-9.]*[0-9])/.exec(text);
  report.wait = wait ?? (found ? Number(found[1]) : null);
  report.place = report.wait === null ? null : place;
  report.error = error;
}

function failed(error) {
  const wait = error.data?.retryAfterSeconds;
  // The text that an SDK keeps of an HTTP answer counts as text, wherever it keeps it.
  const text = `${error.message} ${JSON.stringify(error.data ?? null)}`;
  const code = error.code ?? error.status;
  denied([error.constructor.name, code].filter((part) => part !== undefined).join(" "), wait === undefined ? "text" : "data", text, wait);
}

async function main() {
  const { Client, StreamableHTTPClientTransport, SSEClientTransport } = sdk();
  const client = new Client({ name: "neighbour", version: "1" }, { versionNegotiation: { mode: "auto" } });
  const transport = new (url.endsWith("/sse") ? SSEClientTransport : StreamableHTTPClientTransport)(new URL(url));
  await client.connect(transport);
  report.revision = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? transport._protocolVersion;
  const tools = async () => (await inTime(client.listTools())).tools.map((tool) => tool.name);
  const call = async () => {
    const result = await inTime(client.callTool({ name: "search", arguments: { q: "rust" } }));
    return [result.isError !== true, result.content.map((part) => part.text).join("")];
  };
  report.tools = await tools();
  while (report.calls < 5 && report.error === null) {
    try {
      const [well, text] = await call();
      if (well) report.calls += 1;
      else denied("tool result with isError", "result", text);
    } catch (error) {
      failed(error);
    }
  }
  try {
    report.alive = (await tools()).length > 0;
    await sleep((report.wait ?? 2.5) * 1000);
    [report.again] = await call();
  } catch {
    // The session is gone, which is what the report says.
  }
  console.log(JSON.stringify(report));
  process.exit(0);
}

main();
