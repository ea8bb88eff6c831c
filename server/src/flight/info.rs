//! What there is, and where to read it.

use arrow_flight::{Criteria, FlightDescriptor, FlightEndpoint, FlightInfo, PollInfo, SchemaResult, Ticket};
use arrow_schema::Schema;
use artifactd_proto::flight::v1 as pb;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use prost::Message;
use tonic::Status;

use super::{
    Flight, descriptor,
    descriptor::Asked,
    ticket::{Read, Tickets},
};
use crate::{
    api::{self, convert, layer::CallId, status},
    arrays::{self, Part, Rows},
    registry::{Caller, ListedTable, OpenTable, Place, Selection, TablePlan},
};

/// Below this size one endpoint is enough, and above it each has about as much.
const ENDPOINT_BYTES: u64 = 64 * 1024 * 1024;

/// A schema as it travels outside a stream: a marker, its length, and the message.
pub(super) fn schema_bytes(schema: &Schema) -> Vec<u8> {
    let header = arrays::schema_message(schema).header;
    let padded = header.len().next_multiple_of(8);
    let mut bytes = Vec::with_capacity(8 + padded);
    bytes.extend([0xff; 4]);
    bytes.extend(i32::try_from(padded).expect("schemas are small").to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.resize(8 + padded, 0);
    bytes
}

pub(super) fn timestamp(us: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: us.div_euclid(1_000_000),
        nanos: (us.rem_euclid(1_000_000) * 1_000) as i32,
    }
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Where a table can be read.
pub(super) async fn info(flight: &Flight, caller: &Caller, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
    let call_id = api::call_id(caller);
    let asked = descriptor::asked(&descriptor, &call_id)?;
    let (open, plan) = opened(flight, caller, &asked, &call_id).await?;
    Ok(info_of(flight, caller, &asked, &open, &plan, descriptor))
}

async fn opened(
    flight: &Flight,
    caller: &Caller,
    asked: &Asked,
    call_id: &CallId,
) -> Result<(OpenTable, TablePlan), Status> {
    let opened = async {
        let open = flight.registry.open_table(caller, &asked.of).await?;
        let plan = open.plan(&asked.selection)?;
        Ok((open, plan))
    };
    opened.await.map_err(|error| status::from_registry(error, call_id))
}

fn info_of(
    flight: &Flight,
    caller: &Caller,
    asked: &Asked,
    open: &OpenTable,
    plan: &TablePlan,
    descriptor: FlightDescriptor,
) -> FlightInfo {
    let rows = plan.rows().cloned().or_else(|| open.n_rows().map(Rows::all));
    let parts = parts_of(open, plan);
    let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
    let expires_at_us = Tickets::expiry();
    let read = |rows: Option<&Rows>| {
        let read = Read::new(
            caller,
            &open.artifact.uid,
            &open.artifact.sha256,
            open.element.clone(),
            expires_at_us,
        );
        read.of(&asked.selection, &asked.filter, rows)
    };
    // What comes first of everything cannot be told from the parts alone.
    let cut = match (asked.selection.limit, &rows) {
        (None, Some(rows)) => cut(&parts, rows, asked.endpoints_max),
        _ => Vec::new(),
    };
    let reads: Vec<Read> = match cut.len() {
        0 | 1 => vec![read(plan.rows())],
        _ => cut.iter().map(|rows| read(Some(rows))).collect(),
    };
    let all = rows.map(|rows| {
        asked
            .selection
            .limit
            .map_or(rows.count(), |limit| limit.min(rows.count()))
    });
    FlightInfo {
        schema: schema_bytes(plan.schema()).into(),
        flight_descriptor: Some(descriptor),
        endpoint: reads.iter().map(|read| endpoint(flight, read)).collect(),
        total_records: match asked.filter.trim() {
            "" => all.map_or(-1, integer),
            _ => -1,
        },
        total_bytes: if parts.is_empty() { -1 } else { integer(bytes) },
        ordered: true,
        app_metadata: table_info(open, plan).encode_to_vec().into(),
    }
}

fn endpoint(flight: &Flight, read: &Read) -> FlightEndpoint {
    FlightEndpoint {
        ticket: Some(Ticket {
            ticket: flight.tickets.make(read).into(),
        }),
        location: Vec::new(),
        expiration_time: Some(timestamp(read.expires_at_us)),
        app_metadata: bytes::Bytes::new(),
    }
}

fn table_info(open: &OpenTable, plan: &TablePlan) -> pb::TableInfo {
    let columns = open.columns(plan).into_iter().map(|column| pb::ColumnInfo {
        name: column.name,
        r#type: column.r#type,
        null_count: column.nulls.map(integer),
        min: column.min,
        max: column.max,
    });
    pb::TableInfo {
        artifact: Some(convert::artifact(open.artifact.clone())),
        element: open.element.clone(),
        columns: columns.collect(),
    }
}

/// The parts in which wanted rows lie, with the share of their bytes that is wanted.
fn parts_of(open: &OpenTable, plan: &TablePlan) -> Vec<Part> {
    let share = |all: u64, wanted: u64, of: u64| (u128::from(all) * u128::from(wanted) / u128::from(of.max(1))) as u64;
    let columns = open.schema().fields().len() as u64;
    let parts = open.parts().into_iter().map(|part| {
        let rows = part.rows.end - part.rows.start;
        let wanted = plan.rows().map_or(rows, |wanted| wanted.within(&part.rows).count());
        let bytes = share(part.bytes, wanted, rows);
        let bytes = share(bytes, plan.schema().fields().len() as u64, columns);
        (wanted > 0, Part { rows: part.rows, bytes })
    });
    parts
        .filter(|(is_wanted, _)| *is_wanted)
        .map(|(_, part)| part)
        .collect()
}

/// Cuts rows where parts end, into as many pieces of about one size as are worth it.
fn cut(parts: &[Part], rows: &Rows, most: usize) -> Vec<Rows> {
    let all: u64 = parts.iter().map(|part| part.bytes).sum();
    let pieces = usize::try_from(all / ENDPOINT_BYTES)
        .unwrap_or(most)
        .min(most)
        .min(parts.len());
    if pieces < 2 {
        return Vec::new();
    }
    let (mut cut, mut start, mut passed) = (Vec::with_capacity(pieces), 0, 0);
    for (number, part) in parts.iter().enumerate() {
        passed += part.bytes;
        let is_last = number + 1 == parts.len();
        let ends_piece = u128::from(passed) * pieces as u128 >= u128::from(all) * (cut.len() as u128 + 1);
        if is_last || ends_piece {
            let end = if is_last { u64::MAX } else { part.rows.end };
            cut.push(rows.within(&(start..end)));
            start = end;
        }
    }
    cut.retain(|rows| !rows.is_empty());
    cut
}

/// The same as [`info`]: there is nothing to wait for.
pub(super) async fn poll(flight: &Flight, caller: &Caller, descriptor: FlightDescriptor) -> Result<PollInfo, Status> {
    Ok(PollInfo {
        info: Some(info(flight, caller, descriptor).await?),
        flight_descriptor: None,
        progress: Some(1.0),
        expiration_time: Some(timestamp(Tickets::expiry())),
    })
}

/// The schema of what would be read; content is not read for it where it was looked at.
pub(super) async fn schema(
    flight: &Flight,
    caller: &Caller,
    descriptor: FlightDescriptor,
) -> Result<SchemaResult, Status> {
    let call_id = api::call_id(caller);
    let asked = descriptor::asked(&descriptor, &call_id)?;
    let schema = flight.registry.table_schema(caller, &asked.of, &asked.selection).await;
    let schema = schema.map_err(|error| status::from_registry(error, &call_id))?;
    Ok(SchemaResult {
        schema: schema_bytes(&schema).into(),
    })
}

/// All tables that the caller may read and that match, as they were when they were saved.
pub(super) async fn list(
    flight: &Flight,
    caller: Caller,
    criteria: &Criteria,
) -> Result<BoxStream<'static, Result<FlightInfo, Status>>, Status> {
    let call_id = api::call_id(&caller);
    let filter = std::str::from_utf8(&criteria.expression);
    let filter = filter.map_err(|_| status::field(&call_id, "expression", "must be UTF-8"))?;
    let selection = convert::selection(filter, &[], &call_id)?;
    let first = flight.registry.tables(&caller, &selection, None).await;
    let (first, next) = first.map_err(|error| status::from_registry(error, &call_id))?;
    let state = (flight.clone(), caller, selection, Some((first, next)));
    Ok(stream::try_unfold(state, next_page).try_flatten().boxed())
}

/// What is left of a list: its calls, and a page that is here.
type Listing = (Flight, Caller, Selection, Option<(Vec<ListedTable>, Option<Place>)>);

type Infos = stream::Iter<std::vec::IntoIter<Result<FlightInfo, Status>>>;

async fn next_page((flight, caller, selection, page): Listing) -> Result<Option<(Infos, Listing)>, Status> {
    let Some((tables, next)) = page else {
        return Ok(None);
    };
    let infos: Vec<_> = tables
        .into_iter()
        .map(|table| Ok(listed(&flight, &caller, table)))
        .collect();
    let page = match next {
        None => None,
        Some(next) => {
            let page = flight.registry.tables(&caller, &selection, Some(next)).await;
            Some(page.map_err(|error| status::from_registry(error, &api::call_id(&caller)))?)
        }
    };
    Ok(Some((stream::iter(infos), (flight, caller, selection, page))))
}

/// A table of a list. What is known of its columns is left to a call for it alone.
fn listed(flight: &Flight, caller: &Caller, table: ListedTable) -> FlightInfo {
    let ListedTable { artifact, schema } = table;
    let read = Read::new(caller, &artifact.uid, &artifact.sha256, Vec::new(), Tickets::expiry());
    FlightInfo {
        schema: schema_bytes(&schema).into(),
        flight_descriptor: Some(FlightDescriptor::new_path(vec![artifact.uid.to_string()])),
        endpoint: vec![endpoint(flight, &read)],
        total_records: artifact.n_observations.map_or(-1, integer),
        total_bytes: -1,
        ordered: true,
        app_metadata: pb::TableInfo {
            artifact: Some(convert::artifact(artifact)),
            element: Vec::new(),
            columns: Vec::new(),
        }
        .encode_to_vec()
        .into(),
    }
}
