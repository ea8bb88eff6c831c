//! Tables: opened without reading them, read in batches, written from batches.
//!
//! ```no_run
//! # async fn tour(client: artifactd_client::Client) -> Result<(), artifactd_client::Error> {
//! use futures::TryStreamExt;
//!
//! let table = client.open("cells/metadata.parquet").await?;
//! println!("{:?} rows of {}", table.n_rows(), table.schema());
//! let old = table.columns(["donor", "age"]).filter("age > 60");
//! let mut batches = old.batches().await?;
//! while let Some(batch) = batches.try_next().await? {
//!     println!("{} rows", batch.num_rows());
//! }
//! # Ok(())
//! # }
//! ```

mod messages;
mod put;
mod read;

use std::{ops::Range, sync::Arc};

use arrow_array::RecordBatch;
use arrow_flight::{FlightDescriptor, FlightInfo, flight_service_client::FlightServiceClient};
use arrow_schema::{Schema, SchemaRef};
use artifactd_domain::Accessor;
use artifactd_proto::{aside::ClientAside, flight::v1 as pb};
use futures::TryStreamExt;
use prost::Message;
use prost_types::Any;

pub use self::{put::IntoBatches, read::Batches};
use crate::{Artifact, Cached, Client, Error, IntoReference, Result, convert, line::Line};

/// Messages that this client takes: larger ones are fewer.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a message may have beside that.
const FRAME_BYTES: usize = 64 * 1024;

/// A table of an artifact, of which nothing has been read; calls on it say what will be.
#[derive(Debug, Clone)]
pub struct Table {
    client: Client,
    read: pb::ReadArray,
    facts: Arc<Facts>,
    streams: usize,
}

#[derive(Debug)]
struct Facts {
    artifact: Artifact,
    schema: SchemaRef,
    n_rows: Option<u64>,
    columns: Vec<Column>,
}

/// What is known of a column without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, as Arrow writes it.
    pub r#type: String,
    /// Rows in which it is null.
    pub nulls: Option<u64>,
    /// Its smallest value, as text.
    pub min: Option<String>,
    /// Its largest value, as text.
    pub max: Option<String>,
}

/// An artifact that was loaded.
#[derive(Debug)]
pub enum Loaded {
    /// A table, all of it.
    Table {
        /// Its columns.
        schema: SchemaRef,
        /// Its rows.
        batches: Vec<RecordBatch>,
    },
    /// Something else: a copy on this machine.
    Copy(Box<Cached>),
}

impl Table {
    /// Whose it is.
    pub fn artifact(&self) -> &Artifact {
        &self.facts.artifact
    }

    /// The columns of the whole table.
    pub fn schema(&self) -> &SchemaRef {
        &self.facts.schema
    }

    /// Rows of the whole table, where they are counted.
    pub fn n_rows(&self) -> Option<u64> {
        self.facts.n_rows
    }

    /// What is known of the columns of the whole table.
    pub fn column_facts(&self) -> &[Column] {
        &self.facts.columns
    }

    /// Reads these columns only, in this order.
    #[must_use]
    pub fn columns<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.read.columns = names.into_iter().map(Into::into).collect();
        self
    }

    /// Reads rows only that match, such as `age > 60 AND tissue = "lung"`.
    #[must_use]
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.read.filter = filter.into();
        self
    }

    /// Reads these rows only, by number. More ranges can be added by calling it again.
    #[must_use]
    pub fn rows(mut self, rows: Range<u64>) -> Self {
        self.read.rows.push(pb::RowRange {
            start: integer(rows.start),
            end: Some(integer(rows.end)),
        });
        self
    }

    /// Reads these rows only, by number; they come in ascending order.
    #[must_use]
    pub fn row_ids(mut self, rows: impl IntoIterator<Item = u64>) -> Self {
        self.read.row_ids = rows.into_iter().map(integer).collect();
        self
    }

    /// Reads the first rows only.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.read.limit = Some(integer(rows));
        self
    }

    /// Columns that refer to a dictionary come with their values instead.
    #[must_use]
    pub fn expand_dictionaries(mut self) -> Self {
        self.read.expand_dictionaries = true;
        self
    }

    /// Parts of the table that are read at once: 4 unless set.
    #[must_use]
    pub fn streams(mut self, streams: usize) -> Self {
        self.streams = streams.max(1);
        self
    }

    /// Begins to read.
    pub async fn batches(&self) -> Result<Batches> {
        let info = self.client.flight_info(&self.read).await?;
        let schema = Arc::new(schema_of(&info.schema)?);
        Ok(read::batches(self.client.clone(), info, schema, self.streams))
    }

    /// Reads all of it into memory.
    pub async fn collect(&self) -> Result<Vec<RecordBatch>> {
        self.batches().await?.try_collect().await
    }
}

impl Client {
    /// Opens the table of an artifact: its columns and how many rows it has. What is read
    /// of it later is what it has now, or the read fails with `CONTENT_CHANGED`.
    pub async fn open(&self, artifact: impl IntoReference) -> Result<Table> {
        self.open_element(artifact, Vec::<String>::new()).await
    }

    /// Opens the table at a path in a folder.
    pub async fn open_element<P: Into<String>>(
        &self,
        artifact: impl IntoReference,
        path: impl IntoIterator<Item = P>,
    ) -> Result<Table> {
        let mut read = pb::ReadArray {
            artifact: Some(convert::reference(artifact.into_reference()?)),
            element: path.into_iter().map(Into::into).collect(),
            ..pb::ReadArray::default()
        };
        let info = self.flight_info(&read).await?;
        let facts = facts_of(&info)?;
        read.artifact = Some(convert::reference(facts.artifact.uid.into()));
        read.if_match = Some(facts.artifact.content_etag.clone());
        Ok(Table {
            client: self.clone(),
            read,
            facts: Arc::new(facts),
            streams: 4,
        })
    }

    /// Loads an artifact: a table into memory, anything else as a copy on this machine.
    pub async fn load(&self, artifact: impl IntoReference) -> Result<Loaded> {
        let artifact = self.get(artifact).await?;
        match artifact.accessor {
            Some(Accessor::DataFrame) => {
                let table = self.open(&artifact).await?;
                Ok(Loaded::Table {
                    schema: Arc::clone(table.schema()),
                    batches: table.collect().await?,
                })
            }
            None => Ok(Loaded::Copy(Box::new(self.cache(&artifact).await?))),
        }
    }

    pub(crate) fn flight(&self, connection: usize) -> FlightServiceClient<ClientAside<Line>> {
        FlightServiceClient::new(self.line(connection)).max_decoding_message_size(MESSAGE_BYTES_MAX + FRAME_BYTES)
    }

    async fn flight_info(&self, read: &pb::ReadArray) -> Result<FlightInfo> {
        let command = FlightDescriptor::new_cmd(packed("ReadArray", read));
        let call = |request| {
            let mut flight = self.flight(0);
            async move { flight.get_flight_info(request).await }
        };
        self.call("GetFlightInfo", command, call).await
    }
}

/// A message of the package `artifactd.flight.v1` as it travels in an opaque field.
fn packed(name: &str, message: &impl Message) -> Vec<u8> {
    let type_url = format!("type.googleapis.com/artifactd.flight.v1.{name}");
    let value = message.encode_to_vec();
    Any { type_url, value }.encode_to_vec()
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn natural(number: i64) -> Option<u64> {
    u64::try_from(number).ok()
}

fn schema_of(bytes: &[u8]) -> Result<Schema> {
    arrow_ipc::convert::try_schema_from_ipc_buffer(bytes)
        .map_err(|error| Error::Answer(format!("a schema cannot be read: {error}")))
}

fn facts_of(info: &FlightInfo) -> Result<Facts> {
    let table = pb::TableInfo::decode(info.app_metadata.clone());
    let table = table.map_err(|error| Error::Answer(format!("what is known of a table cannot be read: {error}")))?;
    let artifact = table
        .artifact
        .ok_or_else(|| Error::Answer("a table without an artifact".to_owned()))?;
    let columns = table.columns.into_iter().map(|column| Column {
        name: column.name,
        r#type: column.r#type,
        nulls: column.null_count.and_then(natural),
        min: column.min,
        max: column.max,
    });
    Ok(Facts {
        artifact: convert::artifact(artifact)?,
        schema: Arc::new(schema_of(&info.schema)?),
        n_rows: natural(info.total_records),
        columns: columns.collect(),
    })
}
