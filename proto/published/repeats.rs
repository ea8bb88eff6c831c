//! Whether a call may be repeated after a lost answer.

use prost_types::{DescriptorProto, method_options::IdempotencyLevel};

/// A request id lies at most this deep in what is sent.
const DEPTH_MAX: usize = 3;

/// What a repeated call does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Nothing: the call only reads.
    Safely,
    /// The same as one.
    Idempotently,
    /// The same as one, when it has a request id in this field.
    ByRequestId(String),
    /// The work again.
    Not,
}

impl Repeats {
    /// By what the protos say of a method: its level, or a request id in what it takes.
    pub(crate) fn of(level: IdempotencyLevel, request: &str, messages: &[&DescriptorProto]) -> Self {
        match level {
            IdempotencyLevel::NoSideEffects => Self::Safely,
            IdempotencyLevel::Idempotent => Self::Idempotently,
            IdempotencyLevel::IdempotencyUnknown => {
                request_id(request, messages, DEPTH_MAX).map_or(Self::Not, Self::ByRequestId)
            }
        }
    }

    /// Whether a client library may repeat it by itself.
    pub(crate) fn is_for_libraries(&self) -> bool {
        *self != Self::Not
    }

    pub(crate) fn short(&self) -> &'static str {
        match self {
            Self::Safely => "yes: it reads",
            Self::Idempotently => "yes: it has the effect of one",
            Self::ByRequestId(_) => "with a request id",
            Self::Not => "ask first how far it is",
        }
    }

    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Safely => "It only reads: repeat it as you like.".to_owned(),
            Self::Idempotently => "Repeated, it has the effect of one.".to_owned(),
            Self::ByRequestId(field) => {
                format!("Set `{field}`, and it can be repeated: it has the effect of one, and the first answer.")
            }
            Self::Not => "Not repeated by libraries: after a lost answer ask how far it is.".to_owned(),
        }
    }
}

/// Path of the field `request_id` in a message.
fn request_id(message: &str, messages: &[&DescriptorProto], depth: usize) -> Option<String> {
    let message = messages.iter().find(|one| one.name() == message)?;
    if message.field.iter().any(|field| field.name() == "request_id") {
        return Some("request_id".to_owned());
    }
    let deeper = depth.checked_sub(1)?;
    message.field.iter().find_map(|field| {
        let kind = field.type_name().strip_prefix(".artifactd.v1.")?;
        Some(format!("{}.{}", field.name(), request_id(kind, messages, deeper)?))
    })
}
