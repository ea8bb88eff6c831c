//! Generates the Rust code of the protos with a compiler written in Rust, so
//! that a build needs no protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const PROTOS: [&str; 22] = [
    "artifactd/v1/admin_service.proto",
    "artifactd/v1/aliases.proto",
    "artifactd/v1/annotation.proto",
    "artifactd/v1/annotation_service.proto",
    "artifactd/v1/artifact.proto",
    "artifactd/v1/artifact_service.proto",
    "artifactd/v1/collection_service.proto",
    "artifactd/v1/content_service.proto",
    "artifactd/v1/errors.proto",
    "artifactd/v1/event_service.proto",
    "artifactd/v1/feature_service.proto",
    "artifactd/v1/label_service.proto",
    "artifactd/v1/lineage_service.proto",
    "artifactd/v1/queries.proto",
    "artifactd/v1/run_service.proto",
    "artifactd/v1/schema_service.proto",
    "artifactd/v1/storage_service.proto",
    "artifactd/v1/transform_service.proto",
    "artifactd/v1/upload_service.proto",
    "artifactd/v1/value.proto",
    "artifactd/flight/v1/flight.proto",
    "artifactd/v1/work_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=artifactd");
    println!("cargo:rerun-if-changed=google");
    println!("cargo:rerun-if-changed=arrow");
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("artifactd.v1.descriptors.bin"), descriptors.encode_to_vec())?;
    let flight = protox::compile(["arrow/flight/protocol/Flight.proto"], ["."])?;
    fs::write(out.join("arrow.flight.descriptors.bin"), flight.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".")
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(descriptors)?;
    Ok(())
}
