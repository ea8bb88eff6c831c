"""Tables over Arrow Flight, written and read by pyarrow, pandas and polars.

    python tables.py <host:port> <seed> <tables>

Makes random tables, has each tool write them to files in its own way, saves the files
and compares what comes back with what the same tool reads from the file.
"""

import gzip
import io
import random
import sys
import datetime
import decimal

import grpc
import numpy
import pandas
import polars
import pyarrow
import pyarrow.compute
import pyarrow.csv
import pyarrow.feather
import pyarrow.flight
import pyarrow.json
import pyarrow.parquet
from google.protobuf import any_pb2

from artifactd.flight.v1 import flight_pb2
from artifactd.v1 import artifact_pb2, artifact_service_pb2, artifact_service_pb2_grpc

ADDRESS, SEED, TABLES = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
CHUNK = 1 << 20

artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(grpc.insecure_channel(ADDRESS))
flight = pyarrow.flight.connect(f"grpc://{ADDRESS}")


def save(key, content):
    def messages():
        header = {"key": key, "expect_accessor": artifact_pb2.ACCESSOR_DATA_FRAME}
        yield artifact_service_pb2.SaveArtifactRequest(header=header)
        for start in range(0, len(content), CHUNK):
            yield artifact_service_pb2.SaveArtifactRequest(chunk={"data": content[start : start + CHUNK]})
        yield artifact_service_pb2.SaveArtifactRequest(trailer={})

    return artifacts.SaveArtifact(messages()).artifact


def command(type_name, message):
    packed = any_pb2.Any(type_url=f"type.googleapis.com/artifactd.flight.v1.{type_name}", value=message.SerializeToString())
    return pyarrow.flight.FlightDescriptor.for_command(packed.SerializeToString())


def read_info(info, options=None):
    parts = [flight.do_get(endpoint.ticket, options).read_all() for endpoint in info.endpoints]
    return pyarrow.concat_tables(parts) if len(parts) > 1 else parts[0]


def read(uid, **wanted):
    message = flight_pb2.ReadArray(artifact={"uid": uid}, **wanted)
    return read_info(flight.get_flight_info(command("ReadArray", message)))


# -- random tables


def random_type(depth, draw, nested=True):
    simple = [
        pyarrow.int8(), pyarrow.int16(), pyarrow.int32(), pyarrow.int64(),
        pyarrow.uint8(), pyarrow.uint16(), pyarrow.uint32(), pyarrow.uint64(),
        pyarrow.float32(), pyarrow.float64(), pyarrow.bool_(),
        pyarrow.string(), pyarrow.large_string(), pyarrow.binary(), pyarrow.large_binary(),
        pyarrow.binary(5),
        pyarrow.date32(), pyarrow.timestamp("us"), pyarrow.timestamp("ns", "Europe/Berlin"), pyarrow.timestamp("ms", "UTC"),
        pyarrow.timestamp("s"), pyarrow.time32("ms"), pyarrow.time64("us"), pyarrow.duration("us"),
        pyarrow.decimal128(12, 3), pyarrow.decimal128(30, 0), pyarrow.decimal256(50, 7),
        pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), pyarrow.null(),
    ]
    if depth == 0 or not nested or draw.random() < 0.6:
        return draw.choice(simple)
    kind = draw.choice(["list", "large_list", "struct", "map", "fixed"])
    inner = lambda: random_type(depth - 1, draw)
    not_null = lambda: draw.choice([pyarrow.int32(), pyarrow.string(), pyarrow.float64()])
    if kind == "list":
        return pyarrow.list_(inner())
    if kind == "large_list":
        return pyarrow.large_list(inner())
    if kind == "struct":
        return pyarrow.struct([(f"f{n}", inner()) for n in range(draw.randint(1, 3))])
    if kind == "map":
        return pyarrow.map_(pyarrow.string(), not_null())
    return pyarrow.list_(not_null(), draw.randint(1, 4))


WORDS = ["", "a", "lung", "T cell", "μm", "日本", "x" * 40, "quote \" and , comma", "line\nbreak", "NA", "0"]


def random_value(type_, draw, nulls):
    if pyarrow.types.is_null(type_) or draw.random() < nulls:
        return None
    types = pyarrow.types
    if types.is_boolean(type_):
        return draw.random() < 0.5
    if types.is_integer(type_):
        bits = type_.bit_width
        signed = types.is_signed_integer(type_)
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        return draw.choice([low, high, 0, 1, draw.randint(low, high)])
    if types.is_floating(type_):
        return draw.choice([0.0, -0.0, 1.5, float("inf"), draw.uniform(-1e6, 1e6), draw.random()])
    if types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_):
        return draw.choice(WORDS) + draw.choice(["", str(draw.randint(0, 999))])
    if types.is_fixed_size_binary(type_):
        return draw.randbytes(type_.byte_width)
    if types.is_binary(type_) or types.is_large_binary(type_) or types.is_binary_view(type_):
        return draw.randbytes(draw.randint(0, 20))
    if types.is_date32(type_):
        return datetime.date(1970, 1, 1) + datetime.timedelta(days=draw.randint(-30000, 30000))
    if types.is_timestamp(type_) or types.is_time(type_) or types.is_duration(type_):
        limit = {"s": 86_399, "ms": 86_399_999, "us": 86_399_999_999, "ns": 86_399_999_999_999}[type_.unit]
        return draw.randint(0, limit)
    if types.is_decimal(type_):
        digits = draw.randint(0, 10 ** min(type_.precision, 28) - 1)
        return decimal.Decimal(draw.choice([-1, 1]) * digits).scaleb(-type_.scale)
    if types.is_dictionary(type_):
        return draw.choice(WORDS[:6])
    if types.is_map(type_):
        return [(f"k{n}", random_value(type_.item_type, draw, 0)) for n in range(draw.randint(0, 3))]
    if types.is_fixed_size_list(type_):
        return [random_value(type_.value_type, draw, 0) for _ in range(type_.list_size)]
    if types.is_list(type_) or types.is_large_list(type_):
        return [random_value(type_.value_type, draw, nulls) for _ in range(draw.randint(0, 4))]
    if types.is_struct(type_):
        return {field.name: random_value(field.type, draw, nulls) for field in type_}
    raise AssertionError(f"no value of {type_}")


def random_array(type_, rows, draw):
    nulls = draw.choice([0, 0, 0.1, 0.5, 1])
    values = [random_value(type_, draw, nulls) for _ in range(rows)]
    if pyarrow.types.is_dictionary(type_):
        return pyarrow.array(values, pyarrow.string()).dictionary_encode()
    return pyarrow.array(values, type_)


def random_table(draw, nested=True):
    rows = draw.choice([0, 1, 7, 64, 1000, 3001])
    fields, columns = [], []
    for number in range(draw.randint(1, 8)):
        type_ = random_type(2, draw, nested)
        metadata = {"unit": "mm"} if draw.random() < 0.3 else None
        fields.append(pyarrow.field(f"c{number}", type_, metadata=metadata))
        columns.append(random_array(type_, rows, draw))
    fields.append(pyarrow.field("last", pyarrow.int64()))
    columns.append(pyarrow.array(range(rows), pyarrow.int64()))
    metadata = {"author": "nobody", "é": "ü"} if draw.random() < 0.5 else None
    schema = pyarrow.schema(fields, metadata=metadata)
    table = pyarrow.table(columns, schema=schema)
    if rows > 10 and draw.random() < 0.5:
        cut = draw.randint(1, rows - 1)
        table = pyarrow.concat_tables([table.slice(0, cut), table.slice(cut)])
    return table


# -- comparison


def plain(column):
    """A column without what two dictionaries may differ in, though they say the same."""
    return column.cast(column.type.value_type) if pyarrow.types.is_dictionary(column.type) else column


def tidy(type_):
    """A type with maps as they were written: pyarrow names their entries after the column when it reads parquet."""
    types = pyarrow.types
    if types.is_map(type_):
        return pyarrow.map_(type_.key_type, tidy(type_.item_type), keys_sorted=type_.keys_sorted)
    if types.is_struct(type_):
        return pyarrow.struct([field.with_type(tidy(field.type)) for field in type_])
    if types.is_fixed_size_list(type_):
        return pyarrow.list_(type_.value_field.with_type(tidy(type_.value_type)), type_.list_size)
    if types.is_large_list(type_):
        return pyarrow.large_list(type_.value_field.with_type(tidy(type_.value_type)))
    if types.is_list(type_):
        return pyarrow.list_(type_.value_field.with_type(tidy(type_.value_type)))
    return type_


def tidied(table):
    schema = pyarrow.schema([field.with_type(tidy(field.type)) for field in table.schema], metadata=table.schema.metadata)
    return table if schema.equals(table.schema, check_metadata=True) else table.cast(schema)


def assert_same(got, expected, what, metadata=True):
    assert got.schema.equals(expected.schema, check_metadata=metadata), (
        f"{what}:\n{got.schema.to_string(show_schema_metadata=True)}\n--\n{expected.schema.to_string(show_schema_metadata=True)}"
    )
    assert got.num_rows == expected.num_rows, f"{what}: {got.num_rows} of {expected.num_rows} rows"
    for number, name in enumerate(expected.column_names):
        one, other = plain(got.column(number)), plain(expected.column(number))
        if not one.equals(other):
            # A NaN is no NaN, but all of them are alike here.
            assert str(one.to_pylist()) == str(other.to_pylist()), f"{what}, {name}:\n{one}\n--\n{other}"
    got.validate(full=True)


def check_selections(uid, whole, what, draw):
    rows = whole.num_rows
    for _ in range(3):
        start = draw.randint(0, rows)
        end = draw.randint(start, rows)
        columns = draw.sample(whole.column_names, draw.randint(1, len(whole.column_names)))
        part = read(uid, rows=[{"start": start, "end": end}], columns=columns)
        assert_same(part, whole.slice(start, end - start).select(columns), f"{what}, rows {start}:{end}")
    ids = sorted({draw.randrange(rows) for _ in range(20)}) if rows else []
    if ids:
        assert_same(read(uid, row_ids=ids), whole.take(ids), f"{what}, rows {ids}")
    limit = draw.randint(0, rows + 1)
    assert_same(read(uid, limit=limit), whole.slice(0, limit), f"{what}, first {limit}")


def check(name, content, expected, draw, metadata=True):
    saved = save(f"tables/{name}", content)
    assert saved.accessor == artifact_pb2.ACCESSOR_DATA_FRAME, f"{name} is no table"
    assert saved.n_observations == expected.num_rows, f"{name}: {saved.n_observations}"
    got = read(saved.uid)
    assert_same(got, expected, name, metadata)
    schema = flight.get_schema(pyarrow.flight.FlightDescriptor.for_path(saved.uid)).schema
    assert schema.equals(expected.schema, check_metadata=metadata), name
    check_selections(saved.uid, got, name, draw)


def parquet_bytes(table, **options):
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, **options)
    return sink.getvalue()


def ipc_bytes(table, stream, draw):
    sink = pyarrow.BufferOutputStream()
    options = pyarrow.ipc.IpcWriteOptions(
        compression=draw.choice([None, "lz4", "zstd"]), emit_dictionary_deltas=stream and draw.random() < 0.5
    )
    make = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    with make(sink, table.schema, options=options) as writer:
        writer.write_table(table.unify_dictionaries(), max_chunksize=draw.choice([None, 100, 1000]))
    return sink.getvalue().to_pybytes()


def without_inner_dictionaries(table):
    """The table without columns that pyarrow cannot write as parquet: a null around a key of a dictionary."""
    inner = lambda type_: not pyarrow.types.is_dictionary(type_) and "dictionary" in str(type_)
    return table.select([field.name for field in table.schema if not inner(field.type)])


def check_pyarrow(number, draw):
    table = random_table(draw)
    options = dict(
        compression=draw.choice(["NONE", "SNAPPY", "GZIP", "BROTLI", "ZSTD", "LZ4"]),
        row_group_size=draw.choice([None, 500]),
        data_page_version=draw.choice(["1.0", "2.0"]),
        use_dictionary=draw.random() < 0.5,
        write_page_index=draw.random() < 0.5,
        data_page_size=draw.choice([None, 512]),
    )
    content = parquet_bytes(without_inner_dictionaries(table), **options)
    expected = tidied(pyarrow.parquet.read_table(io.BytesIO(content)))
    check(f"{number}.parquet", content, expected, draw)
    content = ipc_bytes(table, False, draw)
    check(f"{number}.arrow", content, pyarrow.ipc.open_file(content).read_all(), draw)
    content = ipc_bytes(table, True, draw)
    check(f"{number}.arrows", content, pyarrow.ipc.open_stream(content).read_all(), draw)


def flat_table(draw):
    rows = draw.choice([1, 50, 2000])
    kinds = [pyarrow.int64(), pyarrow.float64(), pyarrow.string(), pyarrow.bool_(), pyarrow.date32(), pyarrow.timestamp("s"), pyarrow.time32("s"), pyarrow.timestamp("ns")]
    columns = {f"c {n}": random_array(draw.choice(kinds), rows, draw) for n in range(draw.randint(2, 7))}
    columns["id"] = pyarrow.array(range(rows))
    return pyarrow.table(columns)


def check_text(number, draw):
    table = flat_table(draw)
    for suffix, delimiter in [("csv", ","), ("tsv", "\t")]:
        sink = io.BytesIO()
        options = pyarrow.csv.WriteOptions(delimiter=delimiter, quoting_style=draw.choice(["needed", "all_valid"]))
        pyarrow.csv.write_csv(table, sink, options)
        content = sink.getvalue()
        parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        expected = pyarrow.csv.read_csv(io.BytesIO(content), parse_options=parse)
        check(f"{number}.{suffix}", content, expected, draw)
        check(f"{number}.{suffix}.gz", gzip.compress(content), expected, draw)
        packed = pyarrow.compress(content, "zstd", asbytes=True)
        check(f"{number}.{suffix}.zst", packed, expected, draw)
    text = pandas.DataFrame({"a": [1, 2, None], "b": ["x", None, "z, \"y\""], "c": [1.5, numpy.nan, 2.5]}).to_csv(index=False).encode()
    check(f"{number}-pandas.csv", text, pyarrow.csv.read_csv(io.BytesIO(text)), draw)
    frame = polars.from_arrow(table)
    sink = io.BytesIO()
    frame.write_csv(sink)
    content = sink.getvalue()
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    check(f"{number}-polars.csv", content, pyarrow.csv.read_csv(io.BytesIO(content), parse_options=parse), draw)


def check_json(number, draw):
    rows = draw.choice([1, 30, 1500])
    frame = polars.DataFrame(
        {
            "id": range(rows),
            "score": [draw.choice([None, draw.random(), 1.0]) for _ in range(rows)],
            "name": [draw.choice(WORDS + [None]) for _ in range(rows)],
            "old": [draw.choice([True, False, None]) for _ in range(rows)],
            "tags": [[draw.choice(WORDS) for _ in range(draw.randint(0, 3))] for _ in range(rows)],
            "where": [{"x": draw.random() + 0.5, "y": draw.randint(0, 9)} for _ in range(rows)],
        }
    )
    sink = io.BytesIO()
    frame.write_ndjson(sink)
    content = sink.getvalue()
    expected = pyarrow.json.read_json(io.BytesIO(content))
    check(f"{number}.jsonl", content, expected, draw)
    check(f"{number}.ndjson.gz", gzip.compress(content), expected, draw)


def check_polars(number, draw):
    table = flat_table(draw)
    frame = polars.from_arrow(table)
    for suffix, write in [
        ("parquet", lambda sink: frame.write_parquet(sink, row_group_size=draw.choice([None, 300]), compression=draw.choice(["zstd", "snappy", "lz4", "uncompressed"]))),
        ("arrow", lambda sink: frame.write_ipc(sink, compression=draw.choice(["uncompressed", "lz4", "zstd"]))),
        ("arrows", lambda sink: frame.write_ipc_stream(sink)),
    ]:
        sink = io.BytesIO()
        write(sink)
        saved = save(f"polars/{number}.{suffix}", sink.getvalue())
        got = polars.from_arrow(read(saved.uid))
        assert got.equals(frame), f"polars {number}.{suffix}\n{got}\n{frame}"
        assert got.schema == frame.schema, f"polars {number}.{suffix}\n{got.schema}\n{frame.schema}"


def check_pandas(number, draw):
    rows = draw.choice([1, 40, 2500])
    frame = pandas.DataFrame(
        {
            "n": [draw.randint(-9, 9) for _ in range(rows)],
            "x": [draw.choice([numpy.nan, draw.random()]) for _ in range(rows)],
            "kind": pandas.Categorical([draw.choice(["low", "mid", "high"]) for _ in range(rows)], ["low", "mid", "high", "unused"], ordered=True),
            "when": pandas.to_datetime([draw.randint(0, 10**18) for _ in range(rows)], utc=True).tz_convert("Asia/Tokyo"),
            "word": [draw.choice(WORDS + [None]) for _ in range(rows)],
        },
        index=pandas.Index([f"row {n}" for n in range(rows)], name="label"),
    )
    for suffix, write in [
        ("parquet", lambda sink: frame.to_parquet(sink)),
        ("feather", lambda sink: pyarrow.feather.write_feather(pyarrow.Table.from_pandas(frame), sink)),
    ]:
        sink = io.BytesIO()
        write(sink)
        content = sink.getvalue()
        saved = save(f"pandas/{number}.{suffix}", content)
        got = read(saved.uid).to_pandas()
        pandas.testing.assert_frame_equal(got, frame)


def check_put(number, draw):
    """What is put comes back, and its batches leave no trace."""
    table = random_table(draw)
    for suffix in ["arrow", "arrows", "parquet"]:
        hashes = set()
        if suffix == "parquet":
            table = without_inner_dictionaries(table)
        for size in [None, 1, 333] if table.num_rows < 1100 else [None, 333]:
            key = f"put/{number}-{size}.{suffix}"
            message = flight_pb2.WriteTable(save={"key": key, "description": "put", "if_content_exists": "IF_CONTENT_EXISTS_CREATE"})
            writer, reader = flight.do_put(command("WriteTable", message), table.schema)
            with writer:
                writer.write_table(table.unify_dictionaries(), max_chunksize=size)
                writer.done_writing()
                answers = []
                while (buffer := reader.read()) is not None:
                    answers.append(flight_pb2.PutAnswer.FromString(buffer.to_pybytes()))
            saved = answers[-1].saved.artifact
            assert saved.key == key and saved.accessor == artifact_pb2.ACCESSOR_DATA_FRAME, saved
            assert saved.n_observations == table.num_rows
            hashes.add(saved.hash)
            assert_same(read(saved.uid), table, key)
        assert len(hashes) == 1, f"{number}.{suffix} depends on its batches"


draw = random.Random(SEED)
for number in range(TABLES):
    check_pyarrow(number, draw)
    check_text(number, draw)
    check_json(number, draw)
    check_polars(number, draw)
    check_pandas(number, draw)
    check_put(number, draw)
print(f"{TABLES} tables of each tool are the same, seed {SEED}")
