// What a web page does, over gRPC-Web: list, download, upload, branch on a reason.
//
//   node browser.mjs URL FILE STUBS
//
// The stubs in the folder STUBS come from proto/ with protoc-gen-es. A page takes the
// `fetch` of its browser; here `pageFetch` stands in for it and holds to the same rules.

import { readFile } from "node:fs/promises";

import { createClient, ConnectError } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { pageFetch } from "./page_fetch.mjs";

const [url, path, stubs] = process.argv.slice(2);
const { ArtifactService } = await import(`${stubs}/artifactd/v1/artifact_service_pb.js`);
const { ContentService } = await import(`${stubs}/artifactd/v1/content_service_pb.js`);
const { UploadService } = await import(`${stubs}/artifactd/v1/upload_service_pb.js`);
const { ErrorInfoSchema } = await import(`${stubs}/google/rpc/error_details_pb.js`);

const fetch = pageFetch("http://localhost:3000");
const transport = createGrpcWebTransport({ baseUrl: url, fetch });
const artifacts = createClient(ArtifactService, transport);
const contents = createClient(ContentService, transport);
const uploads = createClient(UploadService, transport);

const byKey = (key) => ({ ref: { case: "key", value: { key } } });

/** A browser cannot stream what it sends, so that a large file goes up part by part. */
async function upload(content, key) {
  const save = { key, size: BigInt(content.length) };
  const begun = await uploads.createUpload({ save, parallel: true });
  const partBytes = Number(begun.partBytes);
  const parts = [];
  for (let at = 0; at < content.length; at += partBytes) parts.push(at);
  // Two at a time; the order does not matter.
  const send = async () => {
    for (let at = parts.shift(); at !== undefined; at = parts.shift()) {
      const data = content.subarray(at, at + partBytes);
      await uploads.uploadPart({ uid: begun.uid, offset: BigInt(at), data });
    }
  };
  await Promise.all([send(), send()]);
  for (;;) {
    const { saved } = await uploads.completeUpload({ uid: begun.uid, sha256: await sha256(content) });
    if (saved) return saved.artifact;
  }
}

async function download(key) {
  const pieces = [];
  let expected;
  for await (const { message } of contents.readContent({ artifact: byKey(key) })) {
    if (message.case === "head") expected = message.value.artifact.hash;
    else pieces.push(message.value.data);
  }
  const content = new Uint8Array(await new Blob(pieces).arrayBuffer());
  if ((await sha256(content)) !== expected) throw new Error("what came is not what was saved");
  return content;
}

async function sha256(content) {
  return Buffer.from(await crypto.subtle.digest("SHA-256", content)).toString("hex");
}

const content = new Uint8Array(await readFile(path));
const saved = await upload(content, "web/large.bin");
console.log(`uploaded ${saved.key} version ${saved.version}`);

let pageToken = "";
do {
  const page = await artifacts.listArtifacts({ pageSize: 1, pageToken });
  for (const { key, size } of page.artifacts) console.log(`listed   ${key}, ${size} bytes`);
  pageToken = page.nextPageToken;
} while (pageToken);

const downloaded = await download("web/large.bin");
console.log(`fetched  ${downloaded.length} bytes, sha256 as recorded`);

try {
  await artifacts.getArtifact({ artifact: byKey("web/missing.csv") });
  throw new Error("a missing artifact was found");
} catch (error) {
  const [info] = ConnectError.from(error).findDetails(ErrorInfoSchema);
  if (info?.reason !== "ARTIFACT_NOT_FOUND") throw error;
  console.log(`refused  ${info.reason}`);
}
console.log(`asked before: ${fetch.preflights()} calls`);
