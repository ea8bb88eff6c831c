"""A large file, in parts that survive whatever happens on the way.

`upload.py HOST:PORT FILE KEY`, with the stubs made from the protos on PYTHONPATH.
When it was cut, or the server went away, run it again: it goes on where it was.
"""

import hashlib
import os
import sys

import grpc

from artifactd.v1 import (
    artifact_pb2,
    artifact_service_pb2 as service_pb2,
    upload_service_pb2 as upload_pb2,
    upload_service_pb2_grpc as upload_grpc,
)


# README: begin
def upload(uploads, path, key, tell=print):
    """Saves a file; called again after a cut, it sends only what is not durable yet."""
    size, changed = os.path.getsize(path), os.stat(path).st_mtime_ns
    header = service_pb2.SaveHeader(key=key, size=size, request_id=f"{key[-80:]}-{size}-{changed}")
    begun = uploads.CreateUpload(upload_pb2.CreateUploadRequest(save=header))
    if begun.durable_bytes < size:
        for answer in uploads.WriteUpload(rest(begun, path)):
            tell(f"{answer.durable_bytes} of {size} bytes are durable")
    complete = upload_pb2.CompleteUploadRequest(uid=begun.uid, sha256=sha256_of(path))
    while not (answer := uploads.CompleteUpload(complete)).HasField("saved"):
        tell(f"{answer.hashed_bytes} of {size} bytes are hashed")
    return answer.saved


def rest(begun, path):
    yield upload_pb2.WriteUploadRequest(header={"uid": begun.uid, "offset": begun.durable_bytes})
    with open(path, "rb") as file:
        file.seek(begun.durable_bytes)
        while data := file.read(1 << 20):
            yield upload_pb2.WriteUploadRequest(chunk=artifact_pb2.ContentChunk(data=data))
# README: end


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def main():
    address, path, key = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        artifact = upload(upload_grpc.UploadServiceStub(channel), path, key).artifact
    print(f"saved {artifact.uid} sha256 {artifact.hash}")


if __name__ == "__main__":
    main()
