//! Reads the lists that services answer.

use std::io;

use quick_xml::events::{BytesRef, Event};

use super::unavailable;
use crate::storage::error::Result;

/// Tells of each element when it ends, and of its text where it has no other element.
pub(super) fn each_element(xml: &[u8], mut tell: impl FnMut(&[u8], String)) -> Result<()> {
    let (mut reader, mut text) = (quick_xml::Reader::from_reader(xml), String::new());
    loop {
        match reader.read_event().map_err(unavailable)? {
            Event::Start(_) => text.clear(),
            Event::Text(part) => text.push_str(&part.decode().map_err(unavailable)?),
            Event::GeneralRef(part) => text.push(character(&part)?),
            Event::End(end) => tell(end.local_name().as_ref(), std::mem::take(&mut text)),
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// The character that a reference such as `&amp;` or `&#38;` stands for.
fn character(reference: &BytesRef<'_>) -> Result<char> {
    if let Some(character) = reference.resolve_char_ref().map_err(unavailable)? {
        return Ok(character);
    }
    let name = reference.decode().map_err(unavailable)?;
    quick_xml::escape::resolve_xml_entity(&name)
        .and_then(|text| text.chars().next())
        .ok_or_else(|| {
            unavailable(io::Error::other(format!(
                "the store answered with an unknown entity {name}"
            )))
        })
}
