//! From descriptors to what is asked for.

use arrow_flight::{FlightDescriptor, flight_descriptor::DescriptorType};
use artifactd_domain::filter::Filter;
use artifactd_proto::{
    flight::v1 as pb,
    v1::{ArtifactRef, ErrorReason, artifact_ref::Ref},
};
use prost::Message;
use prost_types::Any;
use tonic::Status;

use crate::{
    api::{convert, layer::CallId, status},
    arrays::Rows,
    registry::{TableOf, TableSelection},
};

/// Longest path or command.
const DESCRIPTOR_BYTES_MAX: usize = 512 * 1024;

/// Rows that one can name one by one.
const ROW_IDS_MAX: usize = 100_000;

/// Ranges of rows in one command.
const RANGES_MAX: usize = 10_000;

/// Endpoints of one table, unless the caller wants fewer.
const ENDPOINTS_MAX: i32 = 8;

/// What a descriptor asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) of: TableOf,
    pub(super) selection: TableSelection,
    /// The filter as it was written.
    pub(super) filter: String,
    pub(super) endpoints_max: usize,
}

/// A message as the opaque bytes in which it travels.
pub(super) fn pack(type_name: &str, message: &impl Message) -> Vec<u8> {
    let type_url = format!("type.googleapis.com/{type_name}");
    let value = message.encode_to_vec();
    Any { type_url, value }.encode_to_vec()
}

/// The other way; `None` when the bytes are no message of this type.
pub(super) fn unpack<M: Message + Default>(type_name: &str, bytes: &[u8]) -> Option<M> {
    let any = Any::decode(bytes).ok()?;
    let (_, found) = any.type_url.rsplit_once('/')?;
    (found == type_name)
        .then(|| M::decode(any.value.as_slice()).ok())
        .flatten()
}

/// The kind of a descriptor that may be read.
pub(super) fn kind(descriptor: &FlightDescriptor, call_id: &CallId) -> Result<DescriptorType, Status> {
    if descriptor.encoded_len() > DESCRIPTOR_BYTES_MAX {
        let rule = format!("must have at most {DESCRIPTOR_BYTES_MAX} bytes");
        return Err(status::field(call_id, "descriptor", rule));
    }
    match DescriptorType::try_from(descriptor.r#type) {
        Ok(kind @ (DescriptorType::Path | DescriptorType::Cmd)) => Ok(kind),
        _ => Err(status::field(call_id, "descriptor.type", "must be PATH or CMD")),
    }
}

/// What to read.
pub(super) fn asked(descriptor: &FlightDescriptor, call_id: &CallId) -> Result<Asked, Status> {
    match kind(descriptor, call_id)? {
        DescriptorType::Path => {
            let (reference, element) = descriptor.path.split_first().ok_or_else(|| {
                status::field_with(call_id, ErrorReason::FieldRequired, "descriptor.path", "is required")
            })?;
            let reference = ArtifactRef {
                r#ref: Some(Ref::Text(reference.clone())),
            };
            let read = pb::ReadArray {
                artifact: Some(reference),
                element: element.to_vec(),
                ..pb::ReadArray::default()
            };
            read_array(read, call_id)
        }
        _ => match unpack("artifactd.flight.v1.ReadArray", &descriptor.cmd) {
            Some(read) => read_array(read, call_id),
            None => {
                let rule = "is no google.protobuf.Any of artifactd.flight.v1.ReadArray";
                Err(status::field(call_id, "descriptor.cmd", rule))
            }
        },
    }
}

fn read_array(read: pb::ReadArray, call_id: &CallId) -> Result<Asked, Status> {
    let pb::ReadArray {
        artifact,
        element,
        columns,
        rows,
        row_ids,
        filter,
        limit,
        if_match,
        include_hidden,
        max_endpoints,
        expand_dictionaries,
    } = read;
    let natural = |number: i64, field: &'static str| {
        u64::try_from(number).map_err(|_| status::field(call_id, field, "must not be negative"))
    };
    let parsed = filter.parse::<Filter>();
    let parsed = parsed.map_err(|fault| status::field(call_id, "filter", fault.to_string()))?;
    Ok(Asked {
        of: TableOf {
            reference: convert::reference(artifact, call_id)?,
            element,
            if_match,
            sha256: None,
            include_hidden,
        },
        selection: TableSelection {
            columns,
            rows: selected_rows(&rows, &row_ids, call_id)?,
            filter: parsed,
            limit: limit.map(|limit| natural(limit, "limit")).transpose()?,
            expand_dictionaries,
        },
        filter,
        endpoints_max: match max_endpoints {
            0 => ENDPOINTS_MAX as usize,
            wish if wish < 0 => return Err(status::field(call_id, "max_endpoints", "must not be negative")),
            wish => wish.min(ENDPOINTS_MAX * 8) as usize,
        },
    })
}

fn selected_rows(rows: &[pb::RowRange], row_ids: &[i64], call_id: &CallId) -> Result<Option<Rows>, Status> {
    let refused = |field: &'static str, rule: &str| Err(status::field(call_id, field, rule));
    if rows.is_empty() && row_ids.is_empty() {
        return Ok(None);
    }
    if !rows.is_empty() && !row_ids.is_empty() {
        return refused("row_ids", "must be empty where `rows` is not");
    }
    if row_ids.len() > ROW_IDS_MAX {
        return refused("row_ids", "must be 100,000 at most");
    }
    if rows.len() > RANGES_MAX {
        return refused("rows", "must be 10,000 ranges at most");
    }
    let mut ranges = Vec::with_capacity(rows.len() + row_ids.len());
    for range in rows {
        let (start, end) = (u64::try_from(range.start), range.end.map(u64::try_from).transpose());
        let (Ok(start), Ok(end)) = (start, end) else {
            return refused("rows", "must not be negative");
        };
        let end = end.unwrap_or(u64::MAX);
        if end < start {
            return refused("rows", "must end behind their beginning");
        }
        ranges.push(start..end);
    }
    for row in row_ids {
        let Ok(row) = u64::try_from(*row) else {
            return refused("row_ids", "must not be negative");
        };
        ranges.push(row..row + 1);
    }
    Ok(Some(Rows::of_ranges(ranges)))
}
