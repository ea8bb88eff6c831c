//! What commands for versioned records share: transforms and collections.

use prost::Message;

use super::said;
use crate::{Context, exit::Failure};

/// A versioned record, as it is told.
pub(super) trait Versioned: Message {
    /// Name of its message.
    const NAME: &'static str;

    /// Itself on one line.
    fn listed(&self) -> String;
}

/// Tells of one.
pub(super) fn show<V: Versioned>(context: &mut Context, record: &V) -> Result<(), Failure> {
    tell(context, V::NAME, record, &record.listed())
}

/// Tells whether one was made, or was there already.
pub(super) fn made<V: Versioned>(
    context: &mut Context,
    answer: (&str, &impl Message),
    created: bool,
    record: &V,
) -> Result<(), Failure> {
    let what = if created { "created" } else { "existing" };
    tell(context, answer.0, answer.1, &format!("{what} {}", record.listed()))
}

/// Tells of one that is no more.
pub(super) fn deleted<V: Versioned>(context: &mut Context, record: &V) -> Result<(), Failure> {
    tell(context, V::NAME, record, &format!("deleted {}", record.listed()))
}

fn tell(context: &mut Context, name: &str, message: &impl Message, line: &str) -> Result<(), Failure> {
    context.output.message(name, message)?;
    context.output.line(line)
}

/// When and under which name and version.
pub(super) fn named(created_at: Option<&prost_types::Timestamp>, key: &str, version: &str) -> String {
    format!("{}  {key}@@{version}", said::time(created_at))
}
