// The TypeScript SDK's client on a tour: `node typescript_tour.mjs SDK TOUR`; SDK is the module's file, TOUR is JSON.
const [sdk, tourJson] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport } = await import(sdk);
const tour = JSON.parse(tourJson);

const mode = tour.era === "legacy" ? "legacy" : { pin: tour.version };
const client = new Client({ name: "tour", version: "1.0.0" }, { versionNegotiation: { mode } });
await client.connect(new StreamableHTTPClientTransport(new URL(tour.url)));

async function all(list, kind) {
  const found = [];
  let cursor;
  do {
    const page = await list(cursor === undefined ? undefined : { cursor });
    found.push(...page[kind]);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return found;
}

const seen = {
  version: client.getNegotiatedProtocolVersion(),
  tools: (await all((page) => client.listTools(page), "tools")).map((tool) => tool.name),
  resources: (await all((page) => client.listResources(page), "resources")).map((resource) => resource.uri),
  prompts: (await all((page) => client.listPrompts(page), "prompts")).map((prompt) => prompt.name),
  called: {},
  read: {},
  filled_in: {},
  failed: [],
};
for (const [name, args] of Object.entries(tour.calls)) {
  seen.called[name] = (await client.callTool({ name, arguments: args })).content[0].text;
}
for (const uri of tour.reads) {
  seen.read[uri] = (await client.readResource({ uri })).contents[0].text;
}
for (const [name, args] of Object.entries(tour.prompts)) {
  seen.filled_in[name] = (await client.getPrompt({ name, arguments: args })).messages[0].content.text;
}
for (const name of tour.failing) {
  await client.callTool({ name, arguments: {} }).catch(() => seen.failed.push(name));
}
await client.close();
console.log(JSON.stringify(seen));
