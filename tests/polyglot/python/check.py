"""Checks artifactd with a stock grpcio client made from the protos.

Run by the end-to-end tests: `check.py HOST:PORT`, with the generated stubs on
PYTHONPATH. Ends with `all checks passed`, or with the first check that failed.
"""

import hashlib
import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from artifactd.v1 import (
    artifact_pb2,
    artifact_service_pb2 as service_pb2,
    artifact_service_pb2_grpc as service_grpc,
    content_service_pb2 as content_pb2,
    content_service_pb2_grpc as content_grpc,
    errors_pb2,
    upload_service_pb2 as upload_pb2,
    upload_service_pb2_grpc as upload_grpc,
)

CHUNK_BYTES = 1 << 20
CONTENT = bytes(range(256)) * 12_000


def key(name):
    return artifact_pb2.ArtifactRef(key=artifact_pb2.KeyRef(key=name))


def uid(name):
    return artifact_pb2.ArtifactRef(uid=name)


def stream(header, content):
    """The messages of one save."""
    yield service_pb2.SaveArtifactRequest(header=header)
    for at in range(0, len(content), CHUNK_BYTES):
        chunk = artifact_pb2.ContentChunk(data=content[at : at + CHUNK_BYTES], offset=at)
        yield service_pb2.SaveArtifactRequest(chunk=chunk)
    digest = hashlib.sha256(content).hexdigest()
    trailer = artifact_pb2.ContentTrailer(sha256=digest, size=len(content))
    yield service_pb2.SaveArtifactRequest(trailer=trailer)


def read(contents, artifact, **options):
    """The bytes of one read, checked against what the head announces."""
    messages = contents.ReadContent(content_pb2.ReadContentRequest(artifact=artifact, **options))
    head = next(messages).head
    data = b"".join(message.chunk.data for message in messages)
    assert len(data) == head.length, (len(data), head.length)
    return data


def refused(code, reason, call, *arguments):
    """Checks that a call is refused with a published reason."""
    try:
        answer = call(*arguments)
        if hasattr(answer, "__next__"):
            answer = list(answer)
    except grpc.RpcError as error:
        assert error.code() == code, (error.code(), code, error.details())
        infos = []
        for detail in rpc_status.from_call(error).details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
                infos.append(info)
        assert len(infos) == 1, infos
        assert infos[0].domain == "artifactd", infos[0]
        assert infos[0].reason == reason, (infos[0].reason, reason)
        assert "ERROR_REASON_" + reason in errors_pb2.ErrorReason.keys(), reason
        return
    raise AssertionError(f"expected {reason}, got {answer}")


def check_saving(artifacts, contents):
    header = service_pb2.SaveHeader(key="python/data.bin", description="from Python")
    answer = artifacts.SaveArtifact(stream(header, CONTENT))
    assert answer.outcome == service_pb2.SAVE_OUTCOME_CREATED, answer
    saved = answer.artifact
    assert saved.hash == hashlib.sha256(CONTENT).hexdigest(), saved
    assert saved.size == len(CONTENT), saved
    assert (saved.version, saved.is_latest, saved.suffix) == ("1", True, ".bin"), saved
    assert read(contents, key("python/data.bin")) == CONTENT

    header = service_pb2.SaveHeader(key="python/data.bin")
    request = service_pb2.SaveSmallArtifactRequest(header=header, content=b"second")
    answer = artifacts.SaveSmallArtifact(request)
    assert answer.outcome == service_pb2.SAVE_OUTCOME_NEW_VERSION, answer
    assert answer.artifact.stem == saved.stem, answer
    assert read(contents, key("python/data.bin")) == b"second"
    assert read(contents, uid(saved.uid)) == CONTENT
    return saved


def check_finding(artifacts, saved):
    text = artifact_pb2.ArtifactRef(text="python/data.bin@@1")
    for reference in (uid(saved.uid), text):
        found = artifacts.GetArtifact(service_pb2.GetArtifactRequest(artifact=reference))
        assert found.uid == saved.uid, found
    versions = artifacts.ListArtifactVersions(
        service_pb2.ListArtifactVersionsRequest(artifact=key("python/data.bin"))
    )
    assert [version.version_number for version in versions.artifacts] == [2, 1], versions


def check_ranges(contents, saved):
    for offset, length in ((0, 10), (262_140, 10), (1_000_000, 1_500_000), (-7, 7)):
        start = offset if offset >= 0 else len(CONTENT) + offset
        piece = read(contents, uid(saved.uid), offset=offset, length=length)
        assert piece == CONTENT[start : start + length], (offset, length)


def check_refusals(artifacts, contents, saved):
    get = lambda reference: artifacts.GetArtifact(service_pb2.GetArtifactRequest(artifact=reference))
    save = lambda **header: artifacts.SaveArtifact(stream(service_pb2.SaveHeader(**header), b"x"))
    content = lambda **options: contents.ReadContent(
        content_pb2.ReadContentRequest(artifact=uid(saved.uid), **options)
    )
    refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND", get, key("missing"))
    refused(grpc.StatusCode.INVALID_ARGUMENT, "REFERENCE_INVALID", get, uid("short"))
    refused(grpc.StatusCode.INVALID_ARGUMENT, "KEY_INVALID", lambda: save(key="../x"))
    refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_REQUIRED", lambda: save())
    refused(grpc.StatusCode.INVALID_ARGUMENT, "SIZE_MISMATCH", lambda: save(key="y", size=5))
    refused(grpc.StatusCode.INVALID_ARGUMENT, "DIGEST_MISMATCH", lambda: save(key="y", sha256="0" * 64))
    refused(grpc.StatusCode.OUT_OF_RANGE, "RANGE_INVALID", lambda: content(offset=len(CONTENT) + 1))
    refused(grpc.StatusCode.ABORTED, "CONTENT_CHANGED", lambda: content(if_match="other"))


def check_deleting(artifacts, contents, saved):
    request = service_pb2.DeleteArtifactRequest(artifact=uid(saved.uid))
    trashed = artifacts.DeleteArtifact(request).trashed
    assert [artifact.uid for artifact in trashed] == [saved.uid], trashed
    refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        "ARTIFACT_IN_TRASH",
        lambda: contents.ReadContent(content_pb2.ReadContentRequest(artifact=uid(saved.uid))),
    )
    artifacts.RestoreArtifact(service_pb2.RestoreArtifactRequest(artifact=uid(saved.uid)))
    assert read(contents, uid(saved.uid)) == CONTENT
    request = service_pb2.DeleteArtifactRequest(artifact=uid(saved.uid), permanent=True, force=True)
    assert list(artifacts.DeleteArtifact(request).destroyed_uids) == [saved.uid]


def check_batches(artifacts, contents):
    def item(name, content):
        return service_pb2.BatchSaveItem(header=service_pb2.SaveHeader(key=name), content=content)

    files = [item(f"batch/{number}.txt", b"%d" % number) for number in range(300)] + [item("/bad", b"x")]
    messages = (service_pb2.BatchSaveRequest(items=files[at : at + 100]) for at in range(0, len(files), 100))
    results = [result for answer in artifacts.BatchSave(messages) for result in answer.results]
    assert len(results) == 301
    assert all(result.saved.outcome == service_pb2.SAVE_OUTCOME_CREATED for result in results[:300])
    assert read(contents, key("batch/299.txt")) == b"299"
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in results[300].error.details)
    assert (results[300].error.code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], "KEY_INVALID")


def check_uploads(uploads, contents):
    """Parts by plain calls, in any order and twice."""
    data = CONTENT * 8
    begin = upload_pb2.CreateUploadRequest(
        save=service_pb2.SaveHeader(key="python/parts.bin", size=len(data)), parallel=True
    )
    begun = uploads.CreateUpload(begin)
    part = begun.part_bytes
    assert 2 << 20 <= part <= 5 << 20, begun
    offsets = range(0, len(data), part)
    complete = upload_pb2.CompleteUploadRequest(uid=begun.uid, sha256=hashlib.sha256(data).hexdigest())
    for at in [*reversed(offsets[1:]), offsets[-1]]:
        request = upload_pb2.UploadPartRequest(uid=begun.uid, offset=at, data=data[at : at + part])
        assert uploads.UploadPart(request).durable_bytes == min(at + part, len(data))
    refused(grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_INCOMPLETE", uploads.CompleteUpload, complete)
    uploads.UploadPart(upload_pb2.UploadPartRequest(uid=begun.uid, data=data[:part]))
    saved = uploads.CompleteUpload(complete).saved
    assert saved.outcome == service_pb2.SAVE_OUTCOME_CREATED, saved
    assert uploads.CompleteUpload(complete).saved == saved
    assert read(contents, key("python/parts.bin")) == data
    gone = upload_pb2.AbortUploadRequest(uid="a" * 20)
    refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND", uploads.AbortUpload, gone)


def main():
    with grpc.insecure_channel(sys.argv[1]) as channel:
        artifacts = service_grpc.ArtifactServiceStub(channel)
        contents = content_grpc.ContentServiceStub(channel)
        saved = check_saving(artifacts, contents)
        check_finding(artifacts, saved)
        check_ranges(contents, saved)
        check_refusals(artifacts, contents, saved)
        check_deleting(artifacts, contents, saved)
        check_batches(artifacts, contents)
        check_uploads(upload_grpc.UploadServiceStub(channel), contents)
    print("all checks passed")


if __name__ == "__main__":
    main()
