// Azurite on a port of its own. It says its endpoint, then sends the requests that come in, one
// in a line as JSON (method, path, headers, body), signed with the key of its account, and
// answers each with a line (status, body). It ends when nobody asks any more.

import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(`${process.argv[2]}/`);
const ACCOUNT = "devstoreaccount1";
// What Azurite gives everybody.
const KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const OPTIONS = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"];

const say = (line) => process.stdout.write(`${line}\n`);

const listening = new Promise((resolve) => {
  console.log = (line) => {
    const place = /listens on (http:\S+)/.exec(line);
    if (place) resolve(place[1]);
  };
});
process.argv.splice(2, process.argv.length, ...OPTIONS, "--blobHost", "127.0.0.1", "--blobPort", "0");
require("azurite/dist/src/blob/main.js");
const host = await listening;
say(`${host}/${ACCOUNT}`);

for await (const line of createInterface({ input: process.stdin })) {
  const { method, path, headers = {}, body = "" } = JSON.parse(line);
  const answer = await fetch(`${host}/${ACCOUNT}${path}`, signed(method, path, headers, body));
  say(JSON.stringify({ status: answer.status, body: await answer.text() }));
}
process.exit(0);

function signed(method, path, given, body) {
  const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2023-11-03", ...given };
  const url = new URL(`${host}/${ACCOUNT}${path}`);
  const ours = Object.entries(headers).map(([name, value]) => `${name.toLowerCase()}:${value}`);
  const queries = [...url.searchParams].map(([name, value]) => `${name}:${value}`);
  const length = Buffer.byteLength(body) || "";
  const parts = [method, "", "", length, "", "", "", "", "", "", "", "", ...ours.sort()];
  const words = [...parts, `/${ACCOUNT}${url.pathname}`, ...queries.sort()].join("\n");
  const signature = createHmac("sha256", Buffer.from(KEY, "base64")).update(words).digest("base64");
  headers.authorization = `SharedKey ${ACCOUNT}:${signature}`;
  return { method, headers, body: body === "" ? undefined : Buffer.from(body) };
}
