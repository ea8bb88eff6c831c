//! Repeatable mutations: the same request under the same id has the effect of one.
//!
//! The row of a finished request is written in the transaction of its effect. A
//! second one finds it, or breaks the unique index and finds it on the next try.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use artifactd_domain::{RequestId, Sha256};
use sea_orm::ConnectionTrait;
use serde::{Serialize, de::DeserializeOwned};
use sha2::Digest;

use super::{Caller, Registry, RegistryError, Result, now_us};
use crate::db::{Batch, DbError, Insert, Txn, WriteError, Writing, entities::requests::Model, requests};

/// What makes a request repeatable: an id that its caller chose, and a hash of all
/// that it asks for, so that another request under the same id can be told from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    id: RequestId,
    asks: Sha256,
}

impl RequestKey {
    /// The key of a call of `method` with this message, encoded without the id.
    ///
    /// Stored hashes outlive versions of this program: the encoding of a message must
    /// not change, and does not when fields are added that old callers do not set.
    pub fn new(id: RequestId, method: &str, message: &[u8]) -> Self {
        let mut hash = sha2::Sha256::new();
        hash.update((method.len() as u64).to_le_bytes());
        hash.update(method);
        hash.update(message);
        let asks = Sha256::from_bytes(hash.finalize().into());
        Self { id, asks }
    }
}

/// A request that can be repeated, in a space.
#[derive(Debug, Clone)]
pub(super) struct Repeatable {
    id: RequestId,
    hash: Sha256,
    tried: Arc<AtomicBool>,
}

/// A finished request.
#[derive(Debug)]
pub(super) struct Finished<A> {
    /// What was answered.
    pub(super) answer: A,
    /// Digest of the content that came with it.
    pub(super) content: Option<Sha256>,
}

impl Repeatable {
    /// `None` without a key.
    pub(super) fn new(key: Option<&RequestKey>, caller: &Caller) -> Option<Self> {
        let RequestKey { id, asks } = key?;
        let mut hash = sha2::Sha256::new();
        hash.update(caller.space_id.to_le_bytes());
        hash.update(asks.as_bytes());
        Some(Self {
            id: id.clone(),
            hash: Sha256::from_bytes(hash.finalize().into()),
            tried: Arc::default(),
        })
    }

    /// The id and the hash, as they are stored.
    pub(super) fn stored(&self) -> (String, Vec<u8>) {
        (self.id.as_str().to_owned(), self.hash.as_bytes().to_vec())
    }

    /// The first answer, if this request has finished already.
    pub(super) async fn finished<A: DeserializeOwned>(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
    ) -> Result<Option<Finished<A>>> {
        let Some(row) = requests::find(conn, caller.principal.id, &self.id).await? else {
            return Ok(None);
        };
        if row.request_hash != self.hash.as_bytes() {
            return Err(self.reused());
        }
        let impossible = |column| DbError::Row {
            table: "requests",
            column,
        };
        let answer = serde_json::from_str(&row.answer).map_err(|_| impossible("answer"))?;
        let content = row.content_sha256.map(<[u8; 32]>::try_from).transpose();
        let content = content
            .map_err(|_| impossible("content_sha256"))?
            .map(Sha256::from_bytes);
        Ok(Some(Finished { answer, content }))
    }

    /// The first answer, as a transaction that runs again has to look for it.
    ///
    /// The first run need not look before it acts: a request that came first breaks
    /// the unique index, which leads to a second run. Before it *fails* it has to
    /// look, with `finished`.
    pub(super) async fn finished_meanwhile<A: DeserializeOwned>(
        &self,
        txn: &impl ConnectionTrait,
        caller: &Caller,
    ) -> Result<Option<Finished<A>>> {
        if self.is_first_try() {
            Ok(None)
        } else {
            self.finished(txn, caller).await
        }
    }

    /// Adds the answer to a batch of changes.
    pub(super) fn remember(
        &self,
        batch: &mut Batch,
        caller: &Caller,
        answer: &impl Serialize,
        content: Option<Sha256>,
    ) {
        batch.insert(self.row(caller, answer, content));
    }

    /// The row of the answer.
    pub(super) fn row(&self, caller: &Caller, answer: &impl Serialize, content: Option<Sha256>) -> Insert {
        requests::insert(Model {
            principal_id: caller.principal.id,
            request_id: self.id.to_string(),
            request_hash: self.hash.as_bytes().to_vec(),
            content_sha256: content.map(|sha256| sha256.as_bytes().to_vec()),
            answer: serde_json::to_string(answer).expect("answers are plain data"),
            created_at_us: now_us(),
        })
    }

    /// Whether no transaction has looked for it or written it yet; the next one has to look.
    pub(super) fn is_first_try(&self) -> bool {
        !self.tried.swap(true, Ordering::Relaxed)
    }

    /// The id by which it goes.
    pub(super) fn id(&self) -> &str {
        self.id.as_str()
    }

    /// The error of an id that was used for another request.
    pub(super) fn reused(&self) -> RegistryError {
        RegistryError::RequestIdReused(self.id.to_string())
    }
}

impl Registry {
    /// Runs a change in a transaction, once per request id, and keeps its answer.
    pub(super) async fn change_once<A, F>(&self, caller: &Caller, request: Option<&RequestKey>, change: F) -> Result<A>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        F: for<'c> Fn(&'c Txn) -> Writing<'c, A, RegistryError> + Send + Sync + 'static,
    {
        let repeatable = Repeatable::new(request, caller);
        let (caller, change) = (caller.clone(), Arc::new(change));
        self.db
            .write(move |txn| {
                let (caller, repeatable, change) = (caller.clone(), repeatable.clone(), Arc::clone(&change));
                Box::pin(async move {
                    once(repeatable.as_ref(), txn, &caller, async {
                        let answer = change(txn).await?;
                        if let Some(repeatable) = &repeatable {
                            let mut batch = Batch::new(txn);
                            repeatable.remember(&mut batch, &caller, &answer, None);
                            batch.run(txn).await?;
                        }
                        Ok(answer)
                    })
                    .await
                })
            })
            .await
    }
}

/// Runs what a request asks for, or answers what it was answered when it ran before.
pub(super) async fn once<A: DeserializeOwned>(
    repeatable: Option<&Repeatable>,
    txn: &impl ConnectionTrait,
    caller: &Caller,
    run: impl Future<Output = Result<A>>,
) -> Result<A> {
    let Some(repeatable) = repeatable else { return run.await };
    if let Some(finished) = repeatable.finished_meanwhile(txn, caller).await? {
        return Ok(finished.answer);
    }
    match run.await {
        // What stands in the way may be what this very request has made.
        Err(error) if error.as_db().is_none() => match repeatable.finished(txn, caller).await? {
            Some(finished) => Ok(finished.answer),
            None => Err(error),
        },
        done => done,
    }
}
