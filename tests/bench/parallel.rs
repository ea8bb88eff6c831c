//! 1 GiB in parallel parts beside one stream, over a long line.

use std::{fs::File, os::unix::fs::FileExt, path::Path, time::Duration};

use artifactd_client::{Client, DeleteOptions, SaveOptions, UploadOptions};

use crate::{
    cases::{self, GIB},
    delay::LongLine,
    machine,
    rounds::{Both, timed},
    server::Server,
};

const ROUNDS: u64 = 5;
const STREAMS: usize = 4;
const ROUND_TRIP: Duration = Duration::from_millis(40);

pub(crate) async fn run() {
    let folder = machine::folder();
    let server = Server::start(folder.path()).await;
    let line = LongLine::start(server.address(), ROUND_TRIP).await;
    let client = Client::connect(format!("http://{}", line.address))
        .await
        .expect("connect");
    let source = folder.path().join("source");
    let mut both = Both::default();
    for number in 0..ROUNDS {
        make_source(&source, number);
        let ours = in_parts(&client, &source);
        let other = as_one(&client, &source);
        both.round(number, ours, other).await;
    }
    cases::PARALLEL.report(&both.ours, &both.other);
    drop(line);
    server.stop().await;
}

async fn in_parts(client: &Client, source: &Path) -> Duration {
    let how = UploadOptions {
        streams: STREAMS,
        ..UploadOptions::default()
    };
    let (saved, took) = timed(client.upload_file_with(source, SaveOptions::key("parts"), how, |_| {})).await;
    forget(client, saved.artifact.uid).await;
    took
}

async fn as_one(client: &Client, source: &Path) -> Duration {
    let (saved, took) = timed(client.save_file(source, SaveOptions::key("one"))).await;
    forget(client, saved.artifact.uid).await;
    took
}

/// So that the other side's content is not there already.
async fn forget(client: &Client, uid: artifactd_client::domain::Uid) {
    let options = DeleteOptions {
        permanent: true,
        force: true,
        ..DeleteOptions::default()
    };
    client.delete_with(uid, options).await.expect("destroy");
}

/// Zeros but for the number of the round.
fn make_source(path: &Path, number: u64) {
    let file = File::create(path).expect("create the source");
    file.set_len(GIB).expect("stretch the source");
    file.write_all_at(&(number + 1).to_le_bytes(), 0)
        .expect("number the source");
}
