//! Pages: how many rows, and sealed tokens that say where the next one starts.

use artifactd_domain::Sha256;
use serde::{Serialize, de::DeserializeOwned};
use tonic::Status;

use super::{Api, layer::CallId, status};
use crate::registry::{RegistryError, Rule};

/// Rows of a page when the caller does not say.
const ROWS_DEFAULT: u64 = 100;

/// Most rows of a page; a larger wish is brought down to it.
pub(super) const ROWS_MAX: u64 = 1000;

/// Rows of a page.
pub(super) fn rows(page_size: i32, call_id: &CallId) -> Result<u64, Status> {
    match u64::try_from(page_size) {
        Err(_) => Err(status::field(call_id, "page_size", "must not be negative")),
        Ok(0) => Ok(ROWS_DEFAULT),
        Ok(rows) => Ok(rows.min(ROWS_MAX)),
    }
}

impl Api {
    /// The place that a token names, if it belongs to a request that `asks` the same.
    pub(super) fn place<P: DeserializeOwned>(
        &self,
        token: &str,
        asks: &str,
        call_id: &CallId,
    ) -> Result<Option<P>, Status> {
        self.place_in("page_token", token, asks, call_id)
    }

    /// The place that a token of a stream names.
    pub(super) fn resumed<P: DeserializeOwned>(
        &self,
        token: &str,
        asks: &str,
        call_id: &CallId,
    ) -> Result<Option<P>, Status> {
        self.place_in("resume_token", token, asks, call_id)
    }

    fn place_in<P: DeserializeOwned>(
        &self,
        field: &'static str,
        token: &str,
        asks: &str,
        call_id: &CallId,
    ) -> Result<Option<P>, Status> {
        if token.is_empty() {
            return Ok(None);
        }
        let refused = |rule: Rule| status::from_registry(RegistryError::field(field, rule), call_id);
        let sealed = self.page_tokens.open(token).ok_or_else(|| refused(Rule::PageToken))?;
        let (asked, place): (String, P) = serde_json::from_slice(&sealed).map_err(|_| refused(Rule::PageToken))?;
        if asked == digest(asks) {
            Ok(Some(place))
        } else {
            Err(refused(Rule::PageTokenOther))
        }
    }

    /// The token of a place; nothing where there are no more rows.
    pub(super) fn token<P: Serialize>(&self, place: Option<&P>, asks: &str) -> String {
        place.map_or(String::new(), |place| {
            let plain = serde_json::to_vec(&(digest(asks), place)).expect("places are plain data");
            self.page_tokens.seal(&plain)
        })
    }
}

/// What a request asks, in few bytes: a filter may be long, and a token travels with every page.
fn digest(asks: &str) -> String {
    Sha256::of(asks.as_bytes()).to_string()[..32].to_owned()
}
