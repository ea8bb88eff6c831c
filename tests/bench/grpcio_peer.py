"""A gRPC server that moves bytes with grpcio and no protobuf: the peer of the
benchmark. Its client prints how many seconds a call took."""

import hashlib
import pathlib
import sys
import time
from concurrent import futures

import grpc

CHUNK = 1 << 20
OPTIONS = [("grpc.max_receive_message_length", 4 << 20)]


def identity(data):
    return data


def serve(folder):
    target = pathlib.Path(folder) / "peer"
    chunk = bytes(CHUNK)

    def upload(messages, _context):
        digest = hashlib.sha256()
        with open(target, "wb") as file:
            for message in messages:
                digest.update(message)
                file.write(message)
        return digest.digest()

    def download(request, _context):
        for _ in range(int(request) // CHUNK):
            yield chunk

    handlers = grpc.method_handlers_generic_handler("Peer", {
        "Upload": grpc.stream_unary_rpc_method_handler(upload, identity, identity),
        "Download": grpc.unary_stream_rpc_method_handler(download, identity, identity),
    })
    server = grpc.server(futures.ThreadPoolExecutor(4), options=OPTIONS)
    server.add_generic_rpc_handlers((handlers,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def read(path):
    with open(path, "rb") as file:
        while data := file.read(CHUNK):
            yield data


def call(kind, port, what):
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        if kind == "upload":
            method = channel.stream_unary("/Peer/Upload", identity, identity)
            began = time.perf_counter()
            method(read(what))
        else:
            method = channel.unary_stream("/Peer/Download", identity, identity)
            began = time.perf_counter()
            for _ in method(what.encode()):
                pass
        print(time.perf_counter() - began)


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    call(*sys.argv[1:4])
