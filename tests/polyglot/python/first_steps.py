"""The main job from Python: save, upload through cuts, list, fetch, branch on a reason.

`first_steps.py HOST:PORT FILE SERVICE_CONFIG`, with the stubs made from the protos on
PYTHONPATH.
"""

import hashlib
import os
import sys
import time

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from artifactd.v1 import (
    artifact_pb2,
    artifact_service_pb2 as service_pb2,
    artifact_service_pb2_grpc as service_grpc,
    content_service_pb2 as content_pb2,
    content_service_pb2_grpc as content_grpc,
    upload_service_pb2_grpc as upload_grpc,
)
from upload import upload

TRIES_MAX = 20


def connect(address, config_path):
    """A channel that waits for a server that is away, and repeats what may be repeated."""
    with open(config_path) as file:
        return grpc.insecure_channel(address, options=[("grpc.service_config", file.read())])


def by_key(key):
    return artifact_pb2.ArtifactRef(key=artifact_pb2.KeyRef(key=key))


def report(what, artifact, outcome):
    outcome = service_pb2.SaveOutcome.Name(outcome).removeprefix("SAVE_OUTCOME_")
    print(f"{what:8} {artifact.key} version {artifact.version} ({outcome})")


def upload_through_cuts(uploads, path, key):
    for tries in range(1, TRIES_MAX + 1):
        try:
            return upload(uploads, path, key, tell=lambda _: None)
        except grpc.RpcError as error:
            if not goes_on(error) or tries == TRIES_MAX:
                raise
            time.sleep(0.2)


def listed(artifacts):
    """Every artifact, page by page."""
    request = service_pb2.ListArtifactsRequest(page_size=1000)
    while True:
        page = artifacts.ListArtifacts(request)
        yield from page.artifacts
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def fetch(contents, key, path):
    """Writes an artifact to a file, which gets its name only when its sha256 is right."""
    messages = contents.ReadContent(content_pb2.ReadContentRequest(artifact=by_key(key)))
    expected, digest = next(messages).head.artifact.hash, hashlib.sha256()
    with open(path + ".part", "wb") as file:
        for message in messages:
            digest.update(message.chunk.data)
            file.write(message.chunk.data)
    if digest.hexdigest() != expected:
        raise RuntimeError("what came is not what was saved")
    os.rename(path + ".part", path)


def reason(error):
    """What programs branch on: never the message."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return ""


def goes_on(error):
    """Whether an upload was cut. The server may still be storing what came before the
    cut: then the next byte is another one than it said."""
    return error.code() == grpc.StatusCode.UNAVAILABLE or reason(error) == "OFFSET_MISMATCH"


def main():
    address, path, config_path = sys.argv[1:]
    with connect(address, config_path) as channel:
        artifacts = service_grpc.ArtifactServiceStub(channel)
        contents = content_grpc.ContentServiceStub(channel)
        uploads = upload_grpc.UploadServiceStub(channel)

        # With a request id the call can be repeated: it has the effect of one.
        header = service_pb2.SaveHeader(key="tour/small.csv", request_id="first-steps")
        content = b"species,body_mass_g\nAdelie,3750\n"
        request = service_pb2.SaveSmallArtifactRequest(header=header, content=content)
        saved = artifacts.SaveSmallArtifact(request, timeout=120)
        report("saved", saved.artifact, saved.outcome)

        saved = upload_through_cuts(uploads, path, "tour/large.bin")
        report("uploaded", saved.artifact, saved.outcome)

        for artifact in listed(artifacts):
            print(f"listed   {artifact.key}, {artifact.size} bytes")

        fetch(contents, "tour/large.bin", path + ".copy")
        print("fetched  tour/large.bin, sha256 as recorded")

        try:
            artifacts.GetArtifact(service_pb2.GetArtifactRequest(artifact=by_key("tour/missing.csv")))
        except grpc.RpcError as error:
            if reason(error) != "ARTIFACT_NOT_FOUND":
                raise
            print("refused ", reason(error))
        else:
            sys.exit("a missing artifact was found")


if __name__ == "__main__":
    main()
