"""Tables beside pyarrow and polars: the peers of the benchmark.

    tables_peer.py make <folder>                          the files that are read
    tables_peer.py serve <folder>                         a Flight server of pyarrow over them
    tables_peer.py get <host:port> ours|peer <selection>  a client that reads from either
    tables_peer.py local <folder> <selection>             polars, without any server
    tables_peer.py put <folder> <host:port> <round>       a client that writes a table
    tables_peer.py write <folder> <round>                 pyarrow, which writes it to a file

All but the first two print how many seconds the work took, without the start of Python.
"""

import json
import os
import pathlib
import sys
import time

import numpy
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.flight
import pyarrow.parquet
from google.protobuf import any_pb2

from artifactd.flight.v1 import flight_pb2

IPC, PARQUET = "wide.arrow", "cells.parquet"
BATCH_ROWS = 1 << 16
ROWS = 1_100_000
GROUP_ROWS = 1 << 17
MESSAGE_BYTES = 16 << 20

# What is read: the file, columns, a filter with one bound, a range of ids.
SELECTIONS = {
    "ipc": (IPC, None, None, None),
    "parquet": (PARQUET, None, None, None),
    "columns": (PARQUET, ["id", "f0"], 900.0, None),
    "range": (PARQUET, None, None, (500_000, 511_000)),
}


def wide(rows, draw, first=0):
    """Numbers of 128 bytes a row."""
    columns = {"id": numpy.arange(first, first + rows)}
    for number in range(15):
        columns[f"c{number}"] = numpy.round(draw.normal(0, 100, rows), 2)
    return pyarrow.record_batch(columns)


def cells(rows, draw):
    """What a table of measured cells looks like."""
    columns = {"id": numpy.arange(rows)}
    for number in range(10):
        columns[f"f{number}"] = numpy.round(draw.uniform(0, 1000, rows), 3)
    for number in range(4):
        columns[f"n{number}"] = draw.poisson(20 * (number + 1), rows)
    tissues = numpy.array(["lung", "liver", "heart", "bone marrow", "kidney"])
    columns["tissue"] = tissues[draw.integers(0, 5, rows)]
    columns["barcode"] = [f"{value:016x}" for value in draw.integers(0, 1 << 62, rows)]
    columns["donor"] = [f"donor-{value}" for value in draw.integers(0, 300, rows)]
    return pyarrow.table(columns)


def make(folder):
    draw = numpy.random.default_rng(1)
    schema = wide(1, draw).schema
    with pyarrow.ipc.new_file(str(folder / IPC), schema) as writer:
        for number in range((1 << 30) // 128 // BATCH_ROWS):
            writer.write_batch(wide(BATCH_ROWS, draw, number * BATCH_ROWS))
    table = cells(ROWS, draw)
    pyarrow.parquet.write_table(table, folder / PARQUET, compression="zstd", row_group_size=GROUP_ROWS)


class Peer(pyarrow.flight.FlightServerBase):
    """Sends the one file from memory, and the other as its scanner reads it."""

    def __init__(self, folder):
        super().__init__("grpc://127.0.0.1:0")
        self.folder = folder
        with pyarrow.OSFile(str(folder / IPC)) as file:
            self.in_memory = pyarrow.ipc.open_file(file).read_all()

    def do_get(self, _context, ticket):
        file, columns, above, ids = SELECTIONS[json.loads(ticket.ticket)]
        if file == IPC:
            return pyarrow.flight.RecordBatchStream(self.in_memory)
        field, wanted = pyarrow.dataset.field, None
        if above is not None:
            wanted = field("f0") > above
        if ids is not None:
            wanted = (field("id") >= ids[0]) & (field("id") < ids[1])
        dataset = pyarrow.dataset.dataset(self.folder / file)
        scanner = dataset.scanner(columns=columns, filter=wanted, batch_size=BATCH_ROWS)
        return pyarrow.flight.RecordBatchStream(scanner.to_reader())


def command(selection):
    file, columns, above, ids = SELECTIONS[selection]
    wanted = "" if above is None else f"f0 > {above}"
    wanted = wanted if ids is None else f"id >= {ids[0]} AND id < {ids[1]}"
    read = flight_pb2.ReadArray(artifact={"key": {"key": file}}, columns=columns or [], filter=wanted, max_endpoints=1)
    url = "type.googleapis.com/artifactd.flight.v1.ReadArray"
    packed = any_pb2.Any(type_url=url, value=read.SerializeToString()).SerializeToString()
    return pyarrow.flight.FlightDescriptor.for_command(packed)


def drain(reader):
    """Takes every batch and keeps none."""
    return sum(chunk.data.num_rows for chunk in reader)


def get(address, whose, selection):
    largest = MESSAGE_BYTES if selection == "ipc" else 2 << 20
    options = pyarrow.flight.FlightCallOptions(headers=[(b"artifactd-max-message-bytes", str(largest).encode())])
    with pyarrow.flight.connect(f"grpc://{address}") as client:
        client.wait_for_available()
        began = time.perf_counter()
        if whose == "ours":
            ticket = client.get_flight_info(command(selection)).endpoints[0].ticket
        else:
            ticket = pyarrow.flight.Ticket(json.dumps(selection))
        reader = client.do_get(ticket, options)
        rows = drain(reader) if selection == "ipc" else reader.read_all().num_rows
        check(selection, rows)
        return time.perf_counter() - began


def check(selection, rows):
    expected = {"ipc": (1 << 30) // 128, "parquet": ROWS, "range": 11_000}.get(selection)
    assert rows == expected if expected else ROWS * 0.09 < rows < ROWS * 0.11, rows


def local(folder, selection):
    file, columns, above, ids = SELECTIONS[selection]
    began = time.perf_counter()
    frame = polars.scan_parquet(folder / file)
    if above is not None:
        frame = frame.filter(polars.col("f0") > above)
    if ids is not None:
        frame = frame.filter((polars.col("id") >= ids[0]) & (polars.col("id") < ids[1]))
    rows = (frame.select(columns) if columns else frame).collect().height
    check(selection, rows)
    return time.perf_counter() - began


def to_write(folder, number):
    """The table, with a mark that makes it another one each time."""
    with pyarrow.OSFile(str(folder / IPC)) as file:
        table = pyarrow.ipc.open_file(file).read_all()
    return table.replace_schema_metadata({"round": str(number)})


def put(folder, address, number):
    table = to_write(folder, number)
    with pyarrow.flight.connect(f"grpc://{address}") as client:
        client.wait_for_available()
        began = time.perf_counter()
        writer, answers = client.do_put(pyarrow.flight.FlightDescriptor.for_path("put.parquet"), table.schema)
        writer.write_table(table)
        writer.done_writing()
        while answers.read() is not None:
            pass
        writer.close()
        return time.perf_counter() - began


def write(folder, number):
    table = to_write(folder, number)
    began = time.perf_counter()
    with open(folder / "written.parquet", "wb") as file:
        pyarrow.parquet.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - began


def serve(folder):
    peer = Peer(folder)
    print(peer.port, flush=True)
    peer.serve()


match sys.argv[1:]:
    case ["make", folder]:
        make(pathlib.Path(folder))
    case ["serve", folder]:
        serve(pathlib.Path(folder))
    case ["get", address, whose, selection]:
        print(get(address, whose, selection))
    case ["local", folder, selection]:
        print(local(pathlib.Path(folder), selection))
    case ["put", folder, address, number]:
        print(put(pathlib.Path(folder), address, number))
    case ["write", folder, number]:
        print(write(pathlib.Path(folder), number))
    case other:
        sys.exit(f"{other} is nothing that this does")
