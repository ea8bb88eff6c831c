//! Between messages and domain types.

mod answer;
mod back;
mod request;

pub use request::draw_request_id;
pub(crate) use {
    answer::{
        alias, alias_change, artifact, artifacts, difference, member, saved, server_info, sha256, some,
        status_in_message, upload,
    },
    back::{
        alias_change_message, alias_message, artifact_message, count_message, difference_message, hit_message,
        member_message, saved_message, server_info_message, upload_message,
    },
    request::{kind, reference, save_header, visibility},
};
