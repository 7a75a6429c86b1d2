import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createApp } from "../dist/app.js";

let server, base;

before(async () => {
  server = createApp("public", "Test").listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  base = `http://127.0.0.1:${server.address().port}`;
});

after(() => {
  server.close();
  server.closeAllConnections();
});

const post = (body) =>
  fetch(`${base}/api/links`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

test("a link is added, followed and counted", async () => {
  const added = await post({ url: "https://example.com/a b" });
  assert.equal(added.status, 201);
  const { id } = await added.json();

  const answer = await fetch(`${base}/to/${id}`, { redirect: "manual" });
  assert.equal(answer.status, 302);
  assert.equal(answer.headers.get("location"), "https://example.com/a%20b");

  const links = await (await fetch(`${base}/api/links`)).json();
  assert.deepEqual(links, [{ id, url: "https://example.com/a%20b", visits: 1 }]);
});

test("only web addresses are taken", async () => {
  for (const url of ["javascript:alert(1)", "nonsense", 7, undefined]) {
    assert.equal((await post({ url })).status, 400);
  }
});

test("an unknown link is not found", async () => {
  assert.equal((await fetch(`${base}/to/nope`)).status, 404);
});
