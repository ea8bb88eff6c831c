//! The Rust that the README shows for tables runs, and gives what it says.

use artifactd_tests::TestServer;

// README: begin
use artifactd_client::{Client, Error};
use futures::TryStreamExt;

/// Penguins of more than 6 kg: only their rows travel, and of these two columns.
async fn heavy(endpoint: &str) -> Result<usize, Error> {
    let client = Client::connect(endpoint).await?;
    let table = client.open("python/penguins.csv").await?;
    let heavy = table.columns(["species", "body_mass_g"]).filter("body_mass_g > 6000");
    let (mut batches, mut rows) = (heavy.batches().await?, 0);
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows();
    }
    Ok(rows)
}
// README: end

const README: &str = include_str!("../../../README.md");

/// The marked lines, as they stand in the README.
fn marked() -> String {
    let mut lines = include_str!("readme_tables.rs").lines();
    let begin = lines.find(|line| *line == "// README: begin");
    begin.expect("the beginning is marked");
    let lines = lines.take_while(|line| *line != "// README: end");
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_rust_that_is_shown_for_tables_runs() {
    let shown = format!("```rust\n{}\n```", marked());
    assert!(README.contains(&shown), "the README shows something else than\n{shown}");
    let server = TestServer::start().await;
    let table = &include_bytes!("../../data/penguins.csv")[..];
    server.client().await.save(table, "python/penguins.csv").await.unwrap();
    assert_eq!(heavy(&server.url()).await.unwrap(), 2);
    server.assert_clean();
}
