// The main job from Node: save, upload through cuts, list, fetch, branch on a reason.
//
//   node first_steps.mjs ADDRESS FILE SERVICE_CONFIG PROTOS
//
// Needs no generated code: @grpc/proto-loader reads the protos in the folder PROTOS.

import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, readFileSync } from "node:fs";
import { rename, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";

import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const CHUNK_BYTES = 1 << 20;
const TRIES_MAX = 20;

const [address, path, configPath, protos] = process.argv.slice(2);
const services = ["artifact", "content", "upload"].map((name) => `artifactd/v1/${name}_service.proto`);
const definitions = loadSync([...services, "google/rpc/status.proto", "google/rpc/error_details.proto"], {
  includeDirs: [protos],
  keepCase: true,
  longs: Number,
  enums: String,
  oneofs: true,
  defaults: true,
});
const { ArtifactService, ContentService, UploadService } = grpc.loadPackageDefinition(definitions).artifactd.v1;

// grpc-js repeats calls as the service config says, but leaves waiting for a server
// that is away to the metadata of each call.
function waiting(options, nextCall) {
  return new grpc.InterceptingCall(nextCall(options), {
    start(metadata, listener, next) {
      metadata.setOptions({ ...metadata.getOptions(), waitForReady: true });
      next(metadata, listener);
    },
  });
}

const connect = (Service) =>
  new Service(address, grpc.credentials.createInsecure(), {
    "grpc.service_config": readFileSync(configPath, "utf8"),
    interceptors: [waiting],
  });
const artifacts = connect(ArtifactService);
const contents = connect(ContentService);
const uploads = connect(UploadService);

/** A unary call as a promise. */
const ask = (client, method, request) =>
  promisify(client[method].bind(client))(request, new grpc.Metadata(), { deadline: Date.now() + 120_000 });

function report(what, { artifact, outcome }) {
  console.log(`${what.padEnd(8)} ${artifact.key} version ${artifact.version} (${outcome.replace("SAVE_OUTCOME_", "")})`);
}

/** Saves a file; called again after a cut, it sends only what is not durable yet. */
async function upload(path, key) {
  const { size, mtimeMs } = await stat(path);
  // The same request id finds the upload again, also from another run of this program.
  const save = { key, size, request_id: `${key}-${size}-${mtimeMs}` };
  const begun = await ask(uploads, "CreateUpload", { save });
  if (begun.durable_bytes < size) {
    await pipeline(rest(begun, path), uploads.WriteUpload(), async (answers) => {
      for await (const _ of answers);
    });
  }
  const sha256 = await sha256Of(path);
  for (;;) {
    const { saved } = await ask(uploads, "CompleteUpload", { uid: begun.uid, sha256 });
    if (saved) return saved;
  }
}

async function* rest({ uid, durable_bytes }, path) {
  yield { header: { uid, offset: durable_bytes } };
  for await (const data of createReadStream(path, { start: durable_bytes, highWaterMark: CHUNK_BYTES })) {
    yield { chunk: { data } };
  }
}

async function uploadThroughCuts(path, key) {
  for (let tries = 1; ; tries++) {
    try {
      return await upload(path, key);
    } catch (error) {
      if (!goesOn(error) || tries === TRIES_MAX) throw error;
      await pause(200);
    }
  }
}

async function* list() {
  let page_token = "";
  do {
    const page = await ask(artifacts, "ListArtifacts", { page_size: 1000, page_token });
    yield* page.artifacts;
    page_token = page.next_page_token;
  } while (page_token);
}

/** Writes an artifact to a file, which gets its name only when its sha256 is right. */
async function fetch(key, path) {
  const digest = createHash("sha256");
  let expected;
  await pipeline(
    contents.ReadContent({ artifact: { key: { key } } }),
    async function* (messages) {
      for await (const { head, chunk } of messages) {
        if (head) expected = head.artifact.hash;
        if (!chunk) continue;
        digest.update(chunk.data);
        yield chunk.data;
      }
    },
    createWriteStream(`${path}.part`),
  );
  if (digest.digest("hex") !== expected) throw new Error("what came is not what was saved");
  await rename(`${path}.part`, path);
}

/** What programs branch on: never the message. */
function reason(error) {
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!packed) return "";
  const { details } = definitions["google.rpc.Status"].deserialize(packed);
  const info = details.find(({ type_url }) => type_url.endsWith("/google.rpc.ErrorInfo"));
  return info ? definitions["google.rpc.ErrorInfo"].deserialize(info.value).reason : "";
}

/**
 * Whether an upload was cut. The server may still be storing what came before the cut:
 * then the next byte is another one than it said.
 */
const goesOn = (error) => error.code === grpc.status.UNAVAILABLE || reason(error) === "OFFSET_MISMATCH";

async function sha256Of(path) {
  const digest = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: CHUNK_BYTES }), digest);
  return digest.digest("hex");
}

// With a request id the call can be repeated: it has the effect of one.
const header = { key: "tour/small.csv", request_id: "first-steps" };
const content = Buffer.from("species,body_mass_g\nAdelie,3750\n");
report("saved", await ask(artifacts, "SaveSmallArtifact", { header, content }));

report("uploaded", await uploadThroughCuts(path, "tour/large.bin"));

for await (const { key, size } of list()) console.log(`listed   ${key}, ${size} bytes`);

await fetch("tour/large.bin", `${path}.copy`);
console.log("fetched  tour/large.bin, sha256 as recorded");

try {
  await ask(artifacts, "GetArtifact", { artifact: { key: { key: "tour/missing.csv" } } });
  throw new Error("a missing artifact was found");
} catch (error) {
  if (reason(error) !== "ARTIFACT_NOT_FOUND") throw error;
  console.log(`refused  ${reason(error)}`);
}
for (const client of [artifacts, contents, uploads]) client.close();
