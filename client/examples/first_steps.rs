//! The main job, step by step, against the server at `ARTIFACTD_ENDPOINT`:
//! save a dataset, save its next version, find it, read both back, delete and
//! restore it. The README's first command runs this.

#![expect(clippy::print_stdout, reason = "it prints what happens")]

use artifactd_client::{Client, Error, ReadOptions, RestoreOptions, SaveOptions};
use futures::TryStreamExt;

/// Penguins measured on three islands: the head of a well-known public table.
const FIRST: &str = "species,island,bill_length_mm,body_mass_g\n\
    Adelie,Torgersen,39.1,3750\n\
    Adelie,Torgersen,39.5,3800\n\
    Gentoo,Biscoe,46.1,4500\n";

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("ARTIFACTD_ENDPOINT").unwrap_or_else(|_| "http://127.0.0.1:50051".to_owned());
    let client = Client::connect(endpoint).await?;
    let server = client.server_info().await?;
    println!(
        "connected to artifactd {}, storage `{}`",
        server.version, server.default_storage
    );

    let options = SaveOptions::key("penguins/size.csv").with_description("Penguins of three islands");
    let first = client.save_bytes(FIRST, options).await?;
    println!(
        "saved     {} version {} ({:?})",
        first.artifact.uid, first.artifact.version, first.outcome
    );
    println!(
        "          {} bytes, sha256 {}",
        first.artifact.size_bytes, first.artifact.sha256
    );

    let more = format!("{FIRST}Chinstrap,Dream,46.5,3500\n");
    let second = client
        .save_bytes(more.clone(), SaveOptions::key("penguins/size.csv"))
        .await?;
    println!(
        "saved     {} version {} ({:?})",
        second.artifact.uid, second.artifact.version, second.outcome
    );

    let again = client.save(more.clone(), "penguins/size.csv").await?;
    println!("saved it again: {:?}, still {}", again.outcome, again.artifact.uid);

    for version in client.versions("penguins/size.csv").await? {
        println!(
            "version   {} {} {} bytes, latest: {}",
            version.version, version.uid, version.size_bytes, version.is_latest
        );
    }

    let read = client.read("penguins/size.csv").await?;
    assert_eq!(read, more.as_bytes(), "the key gives what was saved last");
    let read = client.read("penguins/size.csv@@1").await?;
    assert_eq!(read, FIRST.as_bytes(), "the first version is still there");
    println!("read both versions back, every byte checked");

    let options = ReadOptions {
        offset: -26,
        ..ReadOptions::default()
    };
    let tail: Vec<_> = client.open("penguins/size.csv", options).await?.try_collect().await?;
    print!("last line {}", String::from_utf8_lossy(&tail.concat()));

    let trashed = client.delete(first.artifact.stem()).await?;
    println!(
        "deleted   {} versions, the key is free: {}",
        trashed.len(),
        client.get("penguins/size.csv").await.is_err()
    );
    let restored = client.restore(first.artifact.stem(), RestoreOptions::default()).await?;
    println!(
        "restored  {} versions, latest is {}",
        restored.len(),
        client.get("penguins/size.csv").await?.version
    );
    Ok(())
}
