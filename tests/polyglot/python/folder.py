"""A folder as one artifact: save it, list it, read from it, change a file of it.

`folder.py HOST:PORT FOLDER KEY`, with the stubs made from the protos on PYTHONPATH.
Only contents travel that the server does not have.
"""

import hashlib
import os
import queue
import sys

import grpc

from artifactd.v1 import (
    artifact_pb2,
    artifact_service_pb2 as service_pb2,
    artifact_service_pb2_grpc as service_grpc,
    content_service_pb2 as content_pb2,
    content_service_pb2_grpc as content_grpc,
)

ENTRIES_MAX = 4096
SMALL_BYTES_END = 1 << 20


class Conversation:
    """A save of a folder: each message waits for its answer."""

    def __init__(self, artifacts, **header):
        self.sent = queue.SimpleQueue()
        self.answers = artifacts.SaveFolder(iter(self.sent.get, None))
        self.ask(header=service_pb2.SaveFolderHeader(**header))

    def tell(self, **message):
        self.sent.put(service_pb2.SaveFolderRequest(**message))

    def ask(self, **message):
        self.tell(**message)
        return next(self.answers)

    def send(self, number, content):
        """Sends the content of an entry."""
        if len(content) < SMALL_BYTES_END:
            file = service_pb2.FolderFile(number=number, content=content)
            answer = self.ask(files=service_pb2.FolderFiles(files=[file]))
        else:
            self.tell(file_begin=service_pb2.FolderFileBegin(number=number))
            for at in range(0, len(content), 1 << 20):
                self.tell(chunk=artifact_pb2.ContentChunk(data=content[at : at + (1 << 20)]))
            answer = self.ask(file_end=service_pb2.FolderFileEnd())
        for result in answer.results.results:
            if result.HasField("error"):
                raise RuntimeError(f"file {result.number}: {result.error.message}")

    def commit(self):
        saved = self.ask(commit=service_pb2.FolderCommit()).saved
        self.sent.put(None)
        return saved


def entry(path, content):
    identity = service_pb2.FolderFileIdentity(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    return service_pb2.FolderEntry(path=path, file=identity)


def save(artifacts, read, paths, **header):
    """Saves files as one artifact; says how many contents travelled."""
    call, paths, sent = Conversation(artifacts, **header), sorted(paths, key=os.fsencode), 0
    for first in range(0, len(paths), ENTRIES_MAX):
        entries = [entry(path, read(path)) for path in paths[first : first + ENTRIES_MAX]]
        wanted = call.ask(entries=service_pb2.FolderEntries(entries=entries)).wanted.numbers
        for number in wanted:
            call.send(number, read(paths[number]))
            sent += 1
    return call.commit(), sent


def files_below(folder):
    for inside, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(inside, name), folder).replace(os.sep, "/")


def members(artifacts, reference, **options):
    """All files of a folder, page by page."""
    token = ""
    while True:
        page = artifacts.ListMembers(
            service_pb2.ListMembersRequest(artifact=reference, page_size=1000, page_token=token, **options)
        )
        yield from page.members
        if not (token := page.next_page_token):
            return


def read_all(contents, reference, **options):
    """Paths and contents of many files, in one stream."""
    request = content_pb2.ReadMembersRequest(artifact=reference, **options)
    path, left, parts = None, 0, []
    for message in contents.ReadMembers(request):
        kind = message.WhichOneof("message")
        if kind == "small":
            for small in message.small.members:
                yield small.begin.member.path, small.content
        elif kind == "begin":
            path, left, parts = message.begin.member.path, message.begin.length, []
            if not left:
                yield path, b""
        elif kind == "chunk":
            parts.append(message.chunk.data)
            left -= len(message.chunk.data)
            if not left:
                yield path, b"".join(parts)


def main():
    address, folder, key = sys.argv[1:]

    def local(path):
        with open(os.path.join(folder, path), "rb") as file:
            return file.read()

    with grpc.insecure_channel(address) as channel:
        artifacts = service_grpc.ArtifactServiceStub(channel)
        contents = content_grpc.ContentServiceStub(channel)
        header = service_pb2.SaveHeader(key=key)
        saved, sent = save(artifacts, local, list(files_below(folder)), save=header)
        print(f"saved   {saved.artifact.n_objects} files, {sent} travelled, version {saved.artifact.version}")
        reference = artifact_pb2.ArtifactRef(uid=saved.artifact.uid)
        for member in members(artifacts, reference):
            print(f"listed  {member.path} {member.size} bytes")
        for path, content in read_all(contents, reference):
            assert content == local(path), path
            print(f"read    {path}")
        # A change names only what is not as it was.
        note = b"what this is about"
        changed, sent = save(
            artifacts, lambda _: note, ["NOTE.txt"], save=service_pb2.SaveHeader(), base_uid=saved.artifact.uid
        )
        print(f"changed {changed.artifact.n_objects} files, {sent} travelled, version {changed.artifact.version}")


if __name__ == "__main__":
    main()
