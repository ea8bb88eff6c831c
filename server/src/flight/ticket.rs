//! Tickets: what is to be read, sealed, so that any server can give it and none has to
//! remember it.
//!
//! A ticket belongs to one user and one content, and expires. It is no permission: that
//! is asked for again when it is used.

use std::time::Duration;

use artifactd_domain::{Sha256, Uid, filter::Filter};
use artifactd_proto::{flight::v1 as pb, v1::ErrorReason};
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};

use super::descriptor::{pack, unpack};
use crate::{
    api::{layer::CallId, status},
    arrays::Rows,
    master_key::{MasterKey, Sealer},
    registry::{Caller, TableOf, TableSelection, now_us, random},
};

const READ_TICKET: &str = "artifactd.flight.v1.ReadTicket";

/// How long a ticket can be used.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Read {
    uid: String,
    sha256: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    element: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<Vec<(u64, u64)>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    filter: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(default)]
    expand_dictionaries: bool,
    principal_id: i64,
    pub(super) expires_at_us: i64,
    /// Tells tickets apart that ask for the same.
    pub(super) id: [u8; 16],
}

impl Read {
    /// Reads a content for somebody.
    pub(super) fn new(caller: &Caller, uid: &Uid, sha256: &Sha256, element: Vec<String>, expires_at_us: i64) -> Self {
        Self {
            uid: uid.to_string(),
            sha256: sha256.to_string(),
            element,
            columns: Vec::new(),
            rows: None,
            filter: String::new(),
            limit: None,
            expand_dictionaries: false,
            principal_id: caller.principal.id,
            expires_at_us,
            id: random(),
        }
    }

    /// The same, of which only a selection is wanted.
    pub(super) fn of(mut self, selection: &TableSelection, filter: &str, rows: Option<&Rows>) -> Self {
        self.columns.clone_from(&selection.columns);
        self.rows = rows.map(|rows| rows.ranges().iter().map(|range| (range.start, range.end)).collect());
        filter.clone_into(&mut self.filter);
        self.limit = selection.limit;
        self.expand_dictionaries = selection.expand_dictionaries;
        self
    }

    /// The table. What was sealed is sound, unless an older server made it.
    pub(super) fn table(&self) -> Option<(TableOf, TableSelection)> {
        let of = TableOf {
            reference: self.uid.parse::<Uid>().ok()?.into(),
            element: self.element.clone(),
            if_match: None,
            sha256: Some(self.sha256.parse().ok()?),
            include_hidden: true,
        };
        let selection = TableSelection {
            columns: self.columns.clone(),
            rows: self
                .rows
                .as_ref()
                .map(|rows| Rows::of_ranges(rows.iter().map(|(start, end)| *start..*end))),
            filter: self.filter.parse::<Filter>().ok()?,
            limit: self.limit,
            expand_dictionaries: self.expand_dictionaries,
        };
        Some((of, selection))
    }
}

/// Makes and opens tickets.
#[derive(Debug)]
pub(super) struct Tickets(Sealer);

impl Tickets {
    pub(super) fn new(key: &MasterKey) -> Self {
        Self(key.sealer("flight ticket"))
    }

    /// When a ticket that is made now expires.
    pub(super) fn expiry() -> i64 {
        now_us() + LIFETIME.as_micros() as i64
    }

    pub(super) fn make(&self, read: &Read) -> Vec<u8> {
        let plain = serde_json::to_vec(read).expect("it is plain data");
        pack(
            READ_TICKET,
            &pb::ReadTicket {
                sealed: self.0.seal(&plain),
            },
        )
    }

    /// What a ticket is for, when it may be used.
    pub(super) fn open(&self, ticket: &[u8], caller: &Caller, call_id: &CallId) -> Result<Read, Status> {
        let read = self.unseal(ticket).ok_or_else(|| invalid(call_id))?;
        if read.principal_id != caller.principal.id {
            // As if the caller had asked for what somebody else may see.
            let (code, reason) = (Code::NotFound, ErrorReason::ArtifactNotFound);
            return Err(status::status(
                call_id,
                code,
                reason,
                "the ticket is that of another user",
            ));
        }
        if read.expires_at_us < now_us() {
            let (code, reason) = (Code::InvalidArgument, ErrorReason::TicketExpired);
            return Err(status::status(
                call_id,
                code,
                reason,
                "the ticket has expired: ask for another one",
            ));
        }
        Ok(read)
    }

    /// The same ticket with a later end.
    pub(super) fn renew(&self, ticket: &[u8], caller: &Caller, call_id: &CallId) -> Result<(Vec<u8>, i64), Status> {
        let mut read = self.open(ticket, caller, call_id)?;
        read.expires_at_us = Self::expiry();
        Ok((self.make(&read), read.expires_at_us))
    }

    fn unseal(&self, ticket: &[u8]) -> Option<Read> {
        let sealed: pb::ReadTicket = unpack(READ_TICKET, ticket)?;
        serde_json::from_slice(&self.0.open(&sealed.sealed)?).ok()
    }
}

/// Says the same of every ticket that cannot be used, whatever is wrong with it.
pub(super) fn invalid(call_id: &CallId) -> Status {
    status::field_with(
        call_id,
        ErrorReason::TicketInvalid,
        "ticket",
        "is none that can be used here",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Principal;

    fn caller(id: i64) -> Caller {
        Caller {
            principal: Principal {
                id,
                name: format!("user {id}"),
            },
            space_id: 1,
            shared_space_id: 1,
            readable_space_ids: vec![1],
            call_id: "test".to_owned(),
            run: None,
        }
    }

    /// F02 and F01: somebody else's, that of another key, one that has expired.
    #[test]
    fn a_ticket_is_good_for_its_user_alone_and_for_its_time() {
        let (tickets, others) = [7, 8]
            .map(|byte| Tickets::new(&MasterKey::from_bytes(&[byte; 32])))
            .into();
        let (uid, sha256) = ("a1B2c3D4e5F6g7H80000".parse().unwrap(), Sha256::of(b"content"));
        let (owner, id) = (caller(1), CallId::new("test"));
        let read = |expires_at_us| Read::new(&owner, &uid, &sha256, Vec::new(), expires_at_us);
        let good = read(Tickets::expiry());
        let ticket = tickets.make(&good);
        assert_eq!(tickets.open(&ticket, &owner, &id).unwrap(), good);
        let of_another = tickets.open(&ticket, &caller(2), &id).unwrap_err();
        assert_eq!(of_another.code(), Code::NotFound);
        assert_eq!(
            tickets.renew(&ticket, &caller(2), &id).unwrap_err().code(),
            Code::NotFound
        );
        assert_eq!(
            others.open(&ticket, &owner, &id).unwrap_err().code(),
            Code::InvalidArgument
        );
        let expired = tickets.make(&read(now_us() - 1));
        assert_eq!(
            tickets.open(&expired, &owner, &id).unwrap_err().code(),
            Code::InvalidArgument
        );
        assert_eq!(
            tickets.renew(&expired, &owner, &id).unwrap_err().code(),
            Code::InvalidArgument
        );
        let (renewed, until) = tickets.renew(&ticket, &owner, &id).unwrap();
        assert!(until >= good.expires_at_us && tickets.open(&renewed, &owner, &id).is_ok());
    }
}
