//! The gRPC interface of artifactd: the protos in `artifactd/v1` are its source,
//! this crate holds what is generated from them.
//!
//! All that it adds is a way for content that copies nothing: [`aside`] leads it
//! past tonic, [`ContentBody`] writes its messages and [`Messages`] reads them.
//! Conversions to domain types live in the server's `api` and in the client.

pub mod aside;
mod messages;
pub mod published;
mod rope;
mod write;

pub use messages::{Chunk, Messages, Received};
pub use write::{ContentBody, Outgoing};

/// Messages, clients and servers of the package `artifactd.v1`.
#[expect(clippy::clone_on_ref_ptr, clippy::large_enum_variant, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("artifactd.v1");
}

/// Messages that travel in the opaque fields of Arrow Flight: the package `artifactd.flight.v1`.
pub mod flight {
    /// See the package.
    pub mod v1 {
        tonic::include_proto!("artifactd.flight.v1");
    }
}

/// The compiled proto of Arrow Flight as a serialised `FileDescriptorSet`, for reflection.
pub const FLIGHT_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/arrow.flight.descriptors.bin"));

/// The compiled protos as a serialised `FileDescriptorSet`, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/artifactd.v1.descriptors.bin"));
