//! The log.

use tracing_subscriber::EnvFilter;

use super::{
    parse::{self, Raw},
    settings::Settings,
};

const DEFAULT_LEVEL: &str = "info";

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged: a level, or directives such as `info,artifactd_server=debug`.
    pub level: String,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogConfig {
    pub(super) fn take(settings: &mut Settings) -> Self {
        Self {
            format: settings.take_or("log.format", LogFormat::Text, format).value,
            level: settings.take_or("log.level", DEFAULT_LEVEL.to_owned(), level).value,
        }
    }
}

fn format(raw: &Raw) -> Result<LogFormat, String> {
    match parse::text(raw)?.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("expected text or json, found `{other}`")),
    }
}

fn level(raw: &Raw) -> Result<String, String> {
    let directives = parse::text(raw)?;
    match EnvFilter::builder().parse(&directives) {
        Ok(_) => Ok(directives),
        Err(_) => Err(format!(
            "expected off, error, warn, info, debug or trace, found `{directives}`"
        )),
    }
}
