"""Content over grpcio, in a server and a client of a few lines: the peer of the
benchmark. The server checks nothing and makes nothing durable. The client prints how
many seconds a call took.

`service` is how a service is written in Python: our protos, stubs that were generated,
one message for each mebibyte. `raw` does without protobuf, as nobody does: bytes that
grpcio moves and looks at no more.
"""

import hashlib
import pathlib
import sys
import time
from concurrent import futures

import grpc

from artifactd.v1 import (
    artifact_pb2,
    artifact_service_pb2 as service_pb2,
    artifact_service_pb2_grpc as service_grpc,
    content_service_pb2 as content_pb2,
    content_service_pb2_grpc as content_grpc,
)

CHUNK = 1 << 20


def hashed(pieces, target):
    """Writes and hashes what comes in."""
    digest = hashlib.sha256()
    with open(target, "wb") as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
    return digest


class Artifacts(service_grpc.ArtifactServiceServicer):
    def __init__(self, target):
        self.target = target

    def SaveArtifact(self, messages, _context):
        digest = hashed((message.chunk.data for message in messages), self.target)
        return service_pb2.SaveArtifactResponse(artifact=artifact_pb2.Artifact(hash=digest.hexdigest()))


class Contents(content_grpc.ContentServiceServicer):
    chunk = bytes(CHUNK)

    def ReadContent(self, request, _context):
        yield content_pb2.ReadContentResponse(head=content_pb2.ContentHead(length=request.length))
        for _ in range(request.length // CHUNK):
            yield content_pb2.ReadContentResponse(chunk=artifact_pb2.ContentChunk(data=self.chunk))


def identity(data):
    return data


def raw_handlers(target):
    def upload(messages, _context):
        return hashed(messages, target).digest()

    def download(request, _context):
        for _ in range(int(request) // CHUNK):
            yield Contents.chunk

    return grpc.method_handlers_generic_handler("Raw", {
        "Upload": grpc.stream_unary_rpc_method_handler(upload, identity, identity),
        "Download": grpc.unary_stream_rpc_method_handler(download, identity, identity),
    })


def serve(folder):
    target = pathlib.Path(folder) / "peer"
    server = grpc.server(futures.ThreadPoolExecutor(4))
    service_grpc.add_ArtifactServiceServicer_to_server(Artifacts(target), server)
    content_grpc.add_ContentServiceServicer_to_server(Contents(), server)
    server.add_generic_rpc_handlers((raw_handlers(target),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def pieces(path):
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            yield data


def messages(path):
    yield service_pb2.SaveArtifactRequest(header=service_pb2.SaveHeader(key="large.bin"))
    for data in pieces(path):
        yield service_pb2.SaveArtifactRequest(chunk=artifact_pb2.ContentChunk(data=data))
    yield service_pb2.SaveArtifactRequest(trailer=artifact_pb2.ContentTrailer())


def upload(channel, path):
    service_grpc.ArtifactServiceStub(channel).SaveArtifact(messages(path))


def download(channel, length):
    for _ in content_grpc.ContentServiceStub(channel).ReadContent(content_pb2.ReadContentRequest(length=int(length))):
        pass


def raw_upload(channel, path):
    channel.stream_unary("/Raw/Upload", identity, identity)(pieces(path))


def raw_download(channel, length):
    for _ in channel.unary_stream("/Raw/Download", identity, identity)(length.encode()):
        pass


calls = {
    "service upload": upload,
    "service download": download,
    "raw upload": raw_upload,
    "raw download": raw_download,
}

if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    how, kind, port, what = sys.argv[1:]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result()
        began = time.perf_counter()
        calls[f"{how} {kind}"](channel, what)
        print(time.perf_counter() - began)
