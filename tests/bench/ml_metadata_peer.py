"""ml-metadata as a peer, in this process on SQLite: reads lines of an operation and a
number, does it, checks that it was done, and prints how many seconds it took."""

import os
import pathlib
import sys
import time

folder = pathlib.Path(sys.argv[1]).resolve()
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

from ml_metadata.metadata_store import ListOptions, OrderByField, metadata_store
from ml_metadata.proto import metadata_store_pb2 as proto

config = proto.ConnectionConfig()
config.sqlite.filename_uri = str(folder / "store.db")
config.sqlite.connection_mode = proto.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
store = metadata_store.MetadataStore(config)

kind = proto.ArtifactType(name="Table")
kind.properties["temperature"] = proto.DOUBLE
kind.properties["group"] = proto.INT
kind.properties["sha256"] = proto.STRING
kind.properties["size"] = proto.INT
kind_id = store.put_artifact_type(kind)


def timed(work):
    began = time.perf_counter()
    done = work()
    return done, time.perf_counter() - began


def register(number):
    """10,000 artifacts in batches of 1,000, each with a key, a digest and a size."""

    def work():
        ids = []
        for batch in range(10):
            artifacts = []
            for place in range(1000):
                artifact = proto.Artifact(type_id=kind_id, uri=f"claims-{number}/{batch}/{place}.csv")
                artifact.properties["sha256"].string_value = "0" * 64
                artifact.properties["size"].int_value = 4
                artifacts.append(artifact)
            ids += store.put_artifacts(artifacts)
        return ids

    ids, took = timed(work)
    assert len(set(ids)) == 10_000
    return took


def fill(count):
    artifacts = []
    for number in range(count):
        artifact = proto.Artifact(type_id=kind_id, uri=f"fill/{number}.csv")
        artifact.properties["group"].int_value = number % 100
        artifact.properties["temperature"].double_value = number * 0.5
        artifacts.append(artifact)
    _, took = timed(lambda: store.put_artifacts(artifacts))
    return took


def page(number):
    """A page of those that have a value, newest first."""
    options = ListOptions(
        limit=100,
        order_by=OrderByField.CREATE_TIME,
        is_asc=False,
        filter_query="type = 'Table' AND properties.group.int_value = 7",
    )
    found, took = timed(lambda: store.get_artifacts(options))
    assert len(found) == 100 and found[0].properties["group"].int_value == 7
    return took


operations = {work.__name__: work for work in (register, fill, page)}
for line in sys.stdin:
    operation, number = line.split()
    print(operations[operation](int(number)), file=answers)
