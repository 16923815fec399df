// What a program written against the npm module "consul" does, area by area.
// Arguments: host, port, token. Prints a line of JSON for each area, as script_running.py does.
"use strict";

const assert = require("node:assert");
const path = require("node:path");

const modules = path.join(__dirname, "..", "..", ".interop", "npm", "node_modules");
const Consul = require(path.join(modules, "consul"));

const [host, port, token] = process.argv.slice(2);
const consul = new Consul({ host, port: Number(port), defaults: token ? { token } : {} });

async function eventually(look, withinMs = 20000) {
  const deadline = Date.now() + withinMs;
  while (!(await look())) {
    assert(Date.now() < deadline, `not within ${withinMs} ms: ${look}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function services() {
  await consul.agent.service.register({
    name: "js", id: "js-1", port: 80, tags: ["a"], check: { ttl: "30s", notes: "of js" },
  });
  assert.strictEqual((await consul.agent.services())["js-1"].Port, 80);
  await consul.agent.check.pass({ id: "service:js-1", note: "well" });
  await eventually(async () => (await consul.health.service({ service: "js", passing: true })).length);
  assert.deepStrictEqual((await consul.catalog.service.nodes("js"))[0].ServiceTags, ["a"]);
  await consul.agent.service.maintenance({ id: "js-1", enable: true, reason: "why" });
  assert((await consul.agent.checks())["_service_maintenance:js-1"]);
  await consul.agent.service.maintenance({ id: "js-1", enable: false });
  await consul.agent.service.deregister("js-1");
  await eventually(async () => !(await consul.health.service("js")).length);
}

async function itself() {
  const own = await consul.agent.self();
  assert((await consul.agent.members()).some((member) => member.Name === own.Member.Name));
  assert((await consul.status.peers()).includes(await consul.status.leader()));
  assert.deepStrictEqual(await consul.catalog.datacenters(), ["dc1"]);
  assert((await consul.catalog.node.list()).some((node) => node.Node === own.Config.NodeName));
  await consul.agent.maintenance({ enable: true, reason: "moving" });
  await consul.agent.maintenance({ enable: false });
}

async function keys() {
  assert.strictEqual(await consul.kv.get("js/none"), undefined);
  assert(await consul.kv.set({ key: "js/a", value: "text", flags: 3 }));
  const found = await consul.kv.get("js/a");
  assert.deepStrictEqual([found.Value, found.Flags], ["text", 3]);
  assert(Buffer.isBuffer((await consul.kv.get({ key: "js/a", buffer: true })).Value));
  assert(!(await consul.kv.set({ key: "js/a", value: "no", cas: "1" })));
  assert.deepStrictEqual(await consul.kv.keys("js/"), ["js/a"]);
  assert(await consul.kv.del({ key: "js/", recurse: true }));
  await assert.rejects(consul.kv.get(), /Missing key name/);
}

async function sessions() {
  const held = (await consul.session.create({ name: "js", ttl: "20s", lockdelay: "1s" })).ID;
  assert(await consul.kv.set({ key: "js-lock", value: "me", acquire: held }));
  assert.strictEqual((await consul.session.get(held)).Name, "js");
  assert.strictEqual((await consul.session.renew(held))[0].ID, held);
  assert((await consul.session.list()).some((session) => session.ID === held));
  assert(await consul.kv.set({ key: "js-lock", value: "me", release: held }));
  await consul.session.destroy(held);
  assert.strictEqual(await consul.session.get(held), undefined);
  await consul.kv.del("js-lock");
}

async function transactions() {
  const done = await consul.transaction.create([
    { KV: { Verb: "set", Key: "js-a", Value: Buffer.from("1").toString("base64") } },
    { KV: { Verb: "get", Key: "js-a" } },
  ]);
  assert.strictEqual(done.Results.length, 2);
  await consul.kv.del("js-a");
}

async function events() {
  const fired = await consul.event.fire("js-deploy", "v2");
  await eventually(async () => (await consul.event.list("js-deploy")).some((e) => e.ID === fired.ID));
}

async function queries() {
  const made = await consul.query.create({ name: "js-query", service: { service: "consul" } });
  assert.strictEqual((await consul.query.get(made.ID)).Name, "js-query");
  const found = await consul.query.execute({ query: "js-query" });
  assert.strictEqual(found.Nodes[0].Service.Service, "consul");
  await consul.query.destroy(made.ID);
}

async function watches() {
  await consul.kv.set("js-watched", "old");
  const watch = consul.watch({ method: consul.kv.get, options: { key: "js-watched", wait: "10s" } });
  const seen = [];
  watch.on("change", (data) => seen.push(data.Value));
  await eventually(() => seen.length === 1);
  await consul.kv.set("js-watched", "new");
  await eventually(() => seen.length === 2);
  watch.end();
  assert.deepStrictEqual(seen, ["old", "new"]);
  await consul.kv.del("js-watched");
}

const AREAS = [
  services, itself, keys, sessions, transactions, events, queries, watches,
];

(async () => {
  for (const area of AREAS) {
    let trouble = "";
    try {
      await area();
    } catch (error) {
      trouble = String(error.stack || error);
    }
    console.log(JSON.stringify({ area: area.name, trouble }));
  }
  process.exit(0);
})();
