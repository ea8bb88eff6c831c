//! Small artifacts, no two alike.

use artifactd_client::Client;

/// How many a folder holds in which single ones are looked for.
pub(crate) const ARTIFACTS: u64 = 10_000;

const LANES: usize = 16;

/// Content of 1 KiB that no other number has.
pub(crate) fn content(number: u64) -> Vec<u8> {
    let mut content = vec![0; 1024];
    content[..8].copy_from_slice(&number.to_le_bytes());
    content
}

/// Saves `ARTIFACTS` of them.
pub(crate) async fn fill(client: &Client) {
    let lanes = (0..LANES).map(|lane| async move {
        for number in (lane as u64..ARTIFACTS).step_by(LANES) {
            let (content, key) = (content(1_000_000 + number), format!("fill/{number}.bin"));
            client.save(content, key).await.expect("save");
        }
    });
    futures::future::join_all(lanes).await;
}
