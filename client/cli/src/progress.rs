//! Shows transfers on a terminal: how much, how fast, how long still.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use artifactd_client::{Client, Event, Events};
use futures::StreamExt;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use crate::{Context, output::plain};

const OF_KNOWN_SIZE: &str =
    "{prefix} {wide_bar:.cyan/blue} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left{msg}";
const OF_UNKNOWN_SIZE: &str = "{prefix} {spinner} {binary_bytes} {binary_bytes_per_sec}{msg}";

/// A client whose transfers are shown.
pub(crate) struct Shown {
    pub(crate) client: Client,
    showing: Option<JoinHandle<()>>,
}

impl Shown {
    /// Shows the transfers of a client, where somebody can see them.
    pub(crate) fn new(context: &Context, client: &Client, name: &str) -> Self {
        if !context.shows_progress || !io::stderr().is_terminal() {
            return Self {
                client: client.clone(),
                showing: None,
            };
        }
        let (client, events) = client.watched();
        let showing = tokio::spawn(show(events, plain(name)));
        Self {
            client,
            showing: Some(showing),
        }
    }

    /// Waits until the last event is shown.
    pub(crate) async fn finish(self) {
        let Self { client, showing } = self;
        drop(client);
        if let Some(showing) = showing {
            // A bar that could not be drawn changes nothing.
            let _ = showing.await;
        }
    }
}

async fn show(mut events: Events, name: String) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_prefix(name);
    set_style(&bar, OF_UNKNOWN_SIZE);
    let (mut size, mut all_files) = (None, 0);
    while let Some(event) = events.next().await {
        match event {
            Event::Begun { files, bytes } => {
                (size, all_files) = (bytes, files);
                if let Some(bytes) = bytes {
                    bar.set_length(bytes);
                    set_style(&bar, OF_KNOWN_SIZE);
                }
                bar.enable_steady_tick(Duration::from_millis(200));
            }
            Event::Arrived { files, bytes } => {
                bar.set_position(bytes);
                let is_all = size == Some(bytes);
                bar.set_message(match all_files {
                    0 | 1 => String::new(),
                    _ => format!(", {files} of {all_files} files"),
                });
                if is_all {
                    bar.tick();
                }
            }
            Event::Hashed { bytes } => bar.set_message(format!(", hashed {}", HumanBytes(bytes))),
            Event::Retrying { wait, error, .. } => {
                let wait = wait.as_secs_f64();
                bar.suspend(|| tell(&format!("{error}; again in {wait:.1} s")));
            }
            Event::Done { .. } => bar.finish(),
            _ => {}
        }
    }
    if !bar.is_finished() {
        bar.abandon();
    }
}

#[expect(clippy::print_stderr, reason = "somebody watches")]
fn tell(text: &str) {
    eprintln!("artifactctl: {}", plain(text));
}

fn set_style(bar: &ProgressBar, template: &str) {
    let style = ProgressStyle::with_template(template).expect("the template is sound");
    bar.set_style(style);
}
