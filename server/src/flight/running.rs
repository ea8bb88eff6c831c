//! Reads that are under way, so that they can be cancelled from elsewhere.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// The id of a ticket.
type Id = [u8; 16];

/// The reads of one server, by their tickets.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<Id, Vec<CancellationToken>>>);

impl Running {
    /// A read begins; it ends with what is answered.
    pub(super) fn begin(self: &Arc<Self>, id: Id) -> OneRun {
        let cancel = CancellationToken::new();
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.entry(id).or_default().push(cancel.clone());
        OneRun {
            running: Arc::clone(self),
            id,
            cancel,
        }
    }

    /// Ends all reads of a ticket; whether there was one.
    pub(super) fn cancel(&self, id: &Id) -> bool {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_ticket = runs.get(id).map_or(&[][..], Vec::as_slice);
        of_ticket.iter().for_each(CancellationToken::cancel);
        !of_ticket.is_empty()
    }
}

/// One read that is under way.
#[derive(Debug)]
pub(super) struct OneRun {
    running: Arc<Running>,
    id: Id,
    /// Says that it was cancelled.
    pub(super) cancel: CancellationToken,
}

impl Drop for OneRun {
    fn drop(&mut self) {
        // Others of the same ticket have tokens of their own, which are alike in nothing
        // but that; so one that was dropped is found by being cancelled.
        self.cancel.cancel();
        let mut runs = self.running.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_ticket) = runs.get_mut(&self.id) {
            of_ticket.retain(|token| !token.is_cancelled());
            if of_ticket.is_empty() {
                runs.remove(&self.id);
            }
        }
    }
}
