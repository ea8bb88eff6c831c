//! What is printed: lines for people, or messages of the protos as JSON.

use std::{
    io::{self, BufWriter, IsTerminal, Stdout, Write},
    sync::LazyLock,
    time::SystemTime,
};

use artifactd_client::{Artifact, ToMessage, domain::Visibility};
use artifactd_proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use crate::exit::{Code, Failure};

static MESSAGES: LazyLock<Option<DescriptorPool>> = LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());

/// Standard output.
pub(crate) struct Output {
    json: bool,
    stdout: BufWriter<Stdout>,
    /// Whether somebody watches, so that lines shall not wait.
    is_watched: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            is_watched: io::stdout().is_terminal(),
            stdout: BufWriter::new(io::stdout()),
        }
    }

    /// Prints a line for people; nothing where messages are asked for.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        self.write(&plain(text))
    }

    /// Whether messages are asked for.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a row of a table as JSON.
    pub(crate) fn row(&mut self, row: &str) -> Result<(), Failure> {
        self.write(row)
    }

    /// Prints a message, where these are asked for.
    pub(crate) fn message(&mut self, name: &str, message: &impl Message) -> Result<(), Failure> {
        self.message_of("artifactd.v1", name, message)
    }

    /// The same of a message about tables.
    pub(crate) fn message_of_table(&mut self, name: &str, message: &impl Message) -> Result<(), Failure> {
        self.message_of("artifactd.flight.v1", name, message)
    }

    fn message_of(&mut self, package: &str, name: &str, message: &impl Message) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let text = json(&format!("{package}.{name}"), message)
            .ok_or_else(|| Failure::new(Code::Failed, format!("{name} has no form in JSON")))?;
        self.write(&text)
    }

    /// Prints an artifact either way, for people as a line of a list.
    pub(crate) fn artifact(&mut self, artifact: &Artifact) -> Result<(), Failure> {
        match self.json {
            true => self.message("Artifact", &artifact.to_message()),
            false => self.line(&listed(artifact)),
        }
    }

    fn write(&mut self, line: &str) -> Result<(), Failure> {
        let written = writeln!(self.stdout, "{line}");
        written.map_err(|error| Failure::output(&error))?;
        if self.is_watched { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(|error| Failure::output(&error))
    }
}

/// The JSON form of a message of ours, on one line.
fn json(name: &str, message: &impl Message) -> Option<String> {
    let descriptor = MESSAGES.as_ref()?.get_message_by_name(name)?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok()?;
    let mut text = Vec::new();
    let options = SerializeOptions::new();
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut text), &options)
        .ok()?;
    String::from_utf8(text).ok()
}

/// One line of a list: uid, size, when it was saved, and its name.
pub(crate) fn listed(artifact: &Artifact) -> String {
    let size = size(artifact.size_bytes);
    format!(
        "{}  {size:>10}  {}  {}",
        artifact.uid,
        time(artifact.created_at),
        named(artifact)
    )
}

/// What people call an artifact: its key or description, with its version.
pub(crate) fn named(artifact: &Artifact) -> String {
    let folder = if artifact.n_objects.is_some() { "/" } else { "" };
    let name = match (&artifact.key, &artifact.description) {
        (Some(key), _) => format!("{key}{folder}"),
        (None, Some(description)) => format!("({})", first_line(description)),
        (None, None) => "-".to_owned(),
    };
    let mut text = format!("{name}@@{}", artifact.version);
    match artifact.visibility {
        Visibility::Default => {}
        Visibility::Hidden => text.push_str(" [hidden]"),
        Visibility::Trash => text.push_str(" [trash]"),
    }
    text
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A number of bytes with a unit.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10).min(UNITS.len() as u32);
    let value = bytes as f64 / 1024f64.powi(power.cast_signed());
    format!("{value:.1} {}", UNITS[power as usize - 1])
}

/// A time in UTC, to the second.
pub(crate) fn time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let timestamp = prost_types::Timestamp {
        seconds: since.as_secs().cast_signed(),
        nanos: 0,
    };
    timestamp.to_string()
}

/// A text that moves no cursor and turns no line around, whoever wrote it.
pub(crate) fn plain(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_odd) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| match is_odd(c) {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_and_times_are_readable() {
        let sizes = [0, 1023, 1024, 1536, 1 << 20, (1 << 30) - 1, 600 << 30, u64::MAX];
        let shown: Vec<String> = sizes.into_iter().map(size).collect();
        assert_eq!(
            shown,
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "1.5 KiB",
                "1.0 MiB",
                "1024.0 MiB",
                "600.0 GiB",
                "16.0 EiB"
            ]
        );
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(time(at), "2023-11-14T22:13:20Z");
    }

    #[test]
    fn what_would_move_the_cursor_is_shown_as_what_it_is() {
        assert_eq!(plain("a\u{1b}[2Jb\r\n\u{202e}c"), "a\\u{1b}[2Jb\\r\\n\\u{202e}c");
        assert_eq!(plain("ä 日本"), "ä 日本");
    }

    #[test]
    fn messages_have_the_form_of_the_protos() {
        let member = artifactd_proto::v1::Member {
            path: "a/b".to_owned(),
            size: 1 << 60,
            sha256: "00".to_owned(),
        };
        let text = json("artifactd.v1.Member", &member).unwrap();
        assert_eq!(text, r#"{"path":"a/b","size":"1152921504606846976","sha256":"00"}"#);
    }
}
