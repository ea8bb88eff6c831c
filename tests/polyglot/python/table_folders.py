"""Folders of parquet files over Arrow Flight, written by pyarrow and polars, read by duckdb too.

    python table_folders.py <host:port> <seed> <folders>

Has each tool write random tables as folders, saves them and compares what comes back with
what pyarrow.dataset reads from the same folder.
"""

import os
import pathlib
import random
import sys
import tempfile

import duckdb
import grpc
import polars
import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.flight
import pyarrow.parquet
from google.protobuf import any_pb2

import folder
from artifactd.flight.v1 import flight_pb2
from artifactd.v1 import artifact_pb2, artifact_service_pb2_grpc

ADDRESS, SEED, FOLDERS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(grpc.insecure_channel(ADDRESS))
flight = pyarrow.flight.connect(f"grpc://{ADDRESS}")


def save(key, root):
    paths = [str(path.relative_to(root)) for path in pathlib.Path(root).rglob("*") if path.is_file()]
    content = lambda path: (pathlib.Path(root) / path).read_bytes()
    saved, _ = folder.save(artifacts, content, paths, save={"key": key})
    return saved.artifact


def read(uid, **wanted):
    message = flight_pb2.ReadArray(artifact={"uid": uid}, **wanted)
    packed = any_pb2.Any(type_url="type.googleapis.com/artifactd.flight.v1.ReadArray", value=message.SerializeToString())
    info = flight.get_flight_info(pyarrow.flight.FlightDescriptor.for_command(packed.SerializeToString()))
    return pyarrow.concat_tables(flight.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints)


def assert_same(got, expected, what):
    assert got.schema.equals(expected.schema, check_metadata=True), f"{what}:\n{got.schema}\n--\n{expected.schema}"
    assert got.num_rows == expected.num_rows, f"{what}: {got.num_rows} of {expected.num_rows} rows"
    for name in expected.column_names:
        one, other = got.column(name).to_pylist(), expected.column(name).to_pylist()
        assert str(one) == str(other), f"{what}, {name}:\n{one}\n--\n{other}"
    got.validate(full=True)


def check(key, root, draw):
    source = pyarrow.dataset.dataset(root, format="parquet", partitioning="hive")
    expected = source.to_table(use_threads=False)
    saved = save(key, root)
    assert saved.accessor == artifact_pb2.ACCESSOR_DATA_FRAME, f"{key} is no table"
    assert saved.n_observations == expected.num_rows, f"{key}: {saved.n_observations}"
    assert_same(read(saved.uid), expected, key)
    schema = flight.get_schema(pyarrow.flight.FlightDescriptor.for_path(saved.uid)).schema
    assert schema.equals(expected.schema, check_metadata=True), key
    rows = expected.num_rows
    for _ in range(4):
        start = draw.randint(0, rows)
        end = draw.randint(start, rows)
        columns = draw.sample(expected.column_names, draw.randint(1, len(expected.column_names)))
        part = read(saved.uid, rows=[{"start": start, "end": end}], columns=columns)
        assert_same(part, expected.slice(start, end - start).select(columns), f"{key}, {columns}, rows {start}:{end}")
    limit = draw.randint(0, rows + 1)
    assert_same(read(saved.uid, limit=limit), expected.slice(0, limit), f"{key}, first {limit}")
    ids = sorted({draw.randrange(rows) for _ in range(20)}) if rows else []
    if ids:
        assert_same(read(saved.uid, row_ids=ids), expected.take(ids), f"{key}, rows {ids}")
    field = pyarrow.compute.field
    tests = [("id < 40", field("id") < 40), ("id >= 100 AND half > 60", (field("id") >= 100) & (field("half") > 60))]
    if "year" in expected.column_names:
        tests += [
            ("year = 2021", field("year") == 2021),
            ("year > 2020 AND id < 150", (field("year") > 2020) & (field("id") < 150)),
            ("year = 2020 OR id = 7", (field("year") == 2020) | (field("id") == 7)),
            ("-year:*", field("year").is_null()),
        ]
    if "part" in expected.column_names:
        tests += [('part = "a/b c"', field("part") == "a/b c"), ('part < "b" AND id > 5', (field("part") < "b") & (field("id") > 5))]
    for text, test in tests:
        # A null fails a test here; pyarrow drops it in the same way at the end.
        columns = draw.sample(expected.column_names, draw.randint(1, len(expected.column_names)))
        wanted = source.to_table(filter=test, use_threads=False).select(columns)
        assert_same(read(saved.uid, filter=text, columns=columns), wanted, f"{key}, {text}")
    return saved


def check_duckdb(saved, root):
    """duckdb says the same of what comes, batch by batch, and of the files."""
    sql = "SELECT year, count(*), sum(id), count(half), max(word) FROM {} GROUP BY ALL ORDER BY year NULLS LAST"
    info = flight.get_flight_info(pyarrow.flight.FlightDescriptor.for_path(saved.uid))
    (endpoint,) = info.endpoints
    batches = flight.do_get(endpoint.ticket).to_reader()
    with duckdb.connect() as database:
        database.register("batches", batches)
        got = database.execute(sql.format("batches")).fetchall()
        files = f"read_parquet('{root}/**/*.parquet', hive_partitioning = true)"
        expected = database.execute(sql.format(files)).fetchall()
    assert got == expected, f"{saved.key}: {got}\n{expected}"


def random_table(draw):
    rows = draw.choice([1, 30, 400])
    maybe = lambda value: None if draw.random() < 0.2 else value
    columns = {
        "id": pyarrow.array(range(rows), pyarrow.int64()),
        "half": pyarrow.array([maybe(n / 2) for n in range(rows)], pyarrow.float64()),
        "word": pyarrow.array([maybe(draw.choice(["lung", "", "日本", "x" * 40])) for _ in range(rows)]),
        "tags": pyarrow.array([maybe([draw.randint(0, 9) for _ in range(draw.randint(0, 3))]) for _ in range(rows)], pyarrow.list_(pyarrow.int32())),
        "kind": pyarrow.array([maybe(draw.choice(["low", "high"])) for _ in range(rows)], pyarrow.string()).dictionary_encode(),
        # The first row says of what types they are: pyarrow refuses a folder of nulls alone.
        "year": pyarrow.array([2020] + [draw.choice([2020, 2021, 2022, None]) for _ in range(rows - 1)], pyarrow.int32()),
        "part": pyarrow.array(["b"] + [draw.choice(["a/b c", "b", "ü%20", "1"]) for _ in range(rows - 1)], pyarrow.string()),
    }
    metadata = {"author": "nobody"} if draw.random() < 0.5 else None
    table = pyarrow.table(columns)
    return table.replace_schema_metadata(metadata)


def keys(draw):
    return draw.choice([[], ["part"], ["part", "year"]])


def written_by_pyarrow(table, root, draw):
    rows = draw.choice([50, 1000])
    pyarrow.parquet.write_to_dataset(table, root, partition_cols=keys(draw), max_rows_per_group=rows)


def written_by_polars(table, root, draw):
    frame = polars.from_arrow(table.drop_columns(["kind"]))
    by = keys(draw) + ["year"]
    frame.lazy().sink_parquet(polars.PartitionBy(root, key=sorted(set(by)), include_key=False), mkdir=True)


def written_as_parts(table, root, draw):
    """Files beside each other, notes among them, one of them without rows."""
    os.makedirs(root, exist_ok=True)
    cut = draw.randint(0, table.num_rows)
    for number, part in enumerate([table.slice(0, cut), table.slice(cut), table.slice(0, 0)]):
        pyarrow.parquet.write_table(part, f"{root}/part-{number}.snappy.parquet")
    pathlib.Path(root, "_SUCCESS").write_bytes(b"")
    pathlib.Path(root, ".part-0.crc").write_bytes(b"crc")


# Values as pyarrow reads them: numbers of 32 bits if all are, bytes behind `%`, nulls.
PATHS = [
    ["k=007/f", "k=-5/f", "k=0x1F/f"],
    ["k=2147483647/f", "k=2147483648/f"],
    ["k=1/f", "k=__HIVE_DEFAULT_PARTITION__/f"],
    ["k=+3/f", "k= 3/f", "k=/f"],
    ["k=%31/f", "k=2/f"],
    ["k%20a=%zz/f", "k%20a=a+b/f"],
    ["k=1/j=2/f", "j=3/f", "g"],
    ["k=1/k=2/f"],
    ["x/k=1/y/f", "k=a=b/f"],
    ["b/f", "b", "b-c/f", "Z/f", "é/f"],
    ["_k=1/f", "a/f", "a/_g", "a/.g"],
    ["k=1/f=2"],
]


def check_paths(draw):
    for number, paths in enumerate(PATHS):
        with tempfile.TemporaryDirectory() as root:
            for place, path in enumerate(paths):
                file = pathlib.Path(root, f"{path}.parquet")
                file.parent.mkdir(parents=True, exist_ok=True)
                rows = pyarrow.array(range(place * 10, place * 10 + 3), pyarrow.int64())
                pyarrow.parquet.write_table(pyarrow.table({"id": rows, "half": rows.cast(pyarrow.float64())}), file)
            check(f"paths/{number}", root, draw)


def check_polars_with_keys(draw):
    """polars writes the columns of the paths into the files too: those count."""
    frame = polars.DataFrame({"id": range(50), "key": [draw.choice([1, 2, 3]) for _ in range(50)]})
    with tempfile.TemporaryDirectory() as root:
        frame.write_parquet(root, partition_by="key")
        saved = save("polars/with-keys", root)
        got = polars.from_arrow(read(saved.uid))
        expected = polars.read_parquet(f"{root}/**/*.parquet", hive_partitioning=False)
        assert got.equals(expected), f"{got}\n{expected}"
        some = polars.from_arrow(read(saved.uid, filter="key = 2"))
        assert some.equals(expected.filter(polars.col("key") == 2)), some


draw = random.Random(SEED)
check_paths(draw)
check_polars_with_keys(draw)
for number in range(FOLDERS):
    for write in [written_by_pyarrow, written_by_polars, written_as_parts]:
        with tempfile.TemporaryDirectory() as root:
            write(random_table(draw), root, draw)
            saved = check(f"{write.__name__}/{number}", root, draw)
            check_duckdb(saved, root)
print(f"{FOLDERS} folders of each tool are the same, seed {SEED}")
