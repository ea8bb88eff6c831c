//! Messages of a stream that somebody sends, as batches.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::{MessageHeader, MetadataVersion};
use arrow_schema::SchemaRef;
use bytes::Bytes;

use super::{
    FORMAT,
    decode::Dictionaries,
    layout::{add_dictionary, read_message_kind},
    plan::BatchPlan,
    schema::read_schema,
};
use crate::arrays::error::{ArrayError, Result};

/// Reads messages one after the other.
#[derive(Debug)]
pub(crate) struct MessageReader {
    schema: SchemaRef,
    dictionaries: Dictionaries,
}

impl MessageReader {
    /// Begins with the header of the first message, which is the schema.
    pub(crate) fn new(header: &[u8]) -> Result<Self> {
        Ok(Self {
            schema: Arc::new(read_schema(header)?),
            dictionaries: Dictionaries::new(),
        })
    }

    /// The schema of the batches.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes a message; answers the batch that it is.
    pub(crate) fn message(&mut self, header: &[u8], body: Bytes) -> Result<Option<RecordBatch>> {
        let fields = self.schema.fields();
        match read_message_kind(header)? {
            MessageHeader::DictionaryBatch => {
                add_dictionary(header, body, fields, MetadataVersion::V5, &mut self.dictionaries)?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let plan = BatchPlan::of_message(header, body.len() as u64)?;
                let columns = plan.decode(fields, |_| true, 0..plan.rows, &body, &self.dictionaries)?;
                let columns: Vec<ArrayRef> = columns.into_iter().flatten().collect();
                let options = RecordBatchOptions::new().with_row_count(Some(plan.rows));
                let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
                batch.map(Some).map_err(|error| ArrayError::from_arrow(FORMAT, error))
            }
            MessageHeader::Schema => Err(ArrayError::malformed(FORMAT, "a second schema comes in between")),
            other => Err(ArrayError::malformed(
                FORMAT,
                format!("a message of the kind {other:?}"),
            )),
        }
    }
}
