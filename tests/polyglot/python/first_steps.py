"""The main job from Python: save, save again, find, read, a range, delete.

`first_steps.py HOST:PORT`, with the stubs made from the protos on PYTHONPATH.
"""

import hashlib
import sys

import grpc

from artifactd.v1 import (
    artifact_pb2,
    artifact_service_pb2 as service_pb2,
    artifact_service_pb2_grpc as service_grpc,
    content_service_pb2 as content_pb2,
    content_service_pb2_grpc as content_grpc,
)

KEY = "penguins/mass.csv"
FIRST = b"species,body_mass_g\nAdelie,3750\nAdelie,3800\nGentoo,4500\n"
SECOND = FIRST + b"Chinstrap,3500\n"


def messages(key, content, chunk_bytes=1 << 20):
    """One save: a header, the content in chunks, a trailer that says what was sent."""
    yield service_pb2.SaveArtifactRequest(header=service_pb2.SaveHeader(key=key))
    for at in range(0, len(content), chunk_bytes):
        chunk = artifact_pb2.ContentChunk(data=content[at : at + chunk_bytes])
        yield service_pb2.SaveArtifactRequest(chunk=chunk)
    digest = hashlib.sha256(content).hexdigest()
    trailer = artifact_pb2.ContentTrailer(sha256=digest, size=len(content))
    yield service_pb2.SaveArtifactRequest(trailer=trailer)


def read(contents, text, **options):
    """The content of a reference such as `key`, `key@@version` or a uid."""
    request = content_pb2.ReadContentRequest(artifact=artifact_pb2.ArtifactRef(text=text), **options)
    return b"".join(message.chunk.data for message in contents.ReadContent(request))


def main():
    with grpc.insecure_channel(sys.argv[1]) as channel:
        artifacts = service_grpc.ArtifactServiceStub(channel)
        contents = content_grpc.ContentServiceStub(channel)
        for content in (FIRST, SECOND):
            answer = artifacts.SaveArtifact(messages(KEY, content))
            outcome = service_pb2.SaveOutcome.Name(answer.outcome).removeprefix("SAVE_OUTCOME_")
            print(f"saved     {answer.artifact.uid} version {answer.artifact.version} ({outcome})")
        assert read(contents, KEY) == SECOND
        assert read(contents, KEY + "@@1") == FIRST
        print("read both versions back")
        print("last line", read(contents, KEY, offset=-15).decode().strip())
        reference = artifact_pb2.ArtifactRef(text=KEY)
        trashed = artifacts.DeleteArtifact(service_pb2.DeleteArtifactRequest(artifact=reference)).trashed
        print(f"deleted   {len(trashed)} versions, they can be restored")
        try:
            read(contents, KEY)
        except grpc.RpcError as error:
            print(f"reading it now: {error.code().name}, {error.details()}")
        else:
            sys.exit("a deleted artifact was read")


if __name__ == "__main__":
    main()
