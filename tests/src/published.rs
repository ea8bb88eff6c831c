//! What the server's log says of refused calls, against what the protos publish.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::OnceLock,
};

use artifactd_proto::{
    published::{reasons_of_any_call, reasons_of_methods},
    v1::ErrorReason,
};

/// Refusals in a log for which the method does not publish the reason.
pub fn unpublished(log: &str) -> BTreeSet<(String, String)> {
    let refusals = log.lines().filter_map(refusal);
    refusals
        .filter(|(method, reason)| !is_published(method, reason))
        .map(|(method, reason)| (method.to_owned(), reason.to_owned()))
        .collect()
}

/// Method and reason of a line of the log that ends a refused call of ours.
fn refusal(line: &str) -> Option<(&str, &str)> {
    let (method, rest) = line.split_once(": Finished ")?.1.split_once(": ")?;
    let reason = rest.split_once(" reason=\"")?.1.split('"').next()?;
    published().0.contains_key(method).then_some((method, reason))
}

fn is_published(method: &str, reason: &str) -> bool {
    let (of_methods, of_any) = published();
    let Some(reason) = ErrorReason::from_str_name(&format!("ERROR_REASON_{reason}")) else {
        return false;
    };
    of_any.contains(&reason) || of_methods.get(method).is_some_and(|reasons| reasons.contains(&reason))
}

type Published = (BTreeMap<String, BTreeSet<ErrorReason>>, BTreeSet<ErrorReason>);

fn published() -> &'static Published {
    static PUBLISHED: OnceLock<Published> = OnceLock::new();
    PUBLISHED.get_or_init(|| (reasons_of_methods(), reasons_of_any_call()))
}
