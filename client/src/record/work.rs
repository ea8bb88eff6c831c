//! Work as a whole: committed at once, and done once.

use artifactd_proto::v1::{
    self as pb, reserve_output_response::Result as Outcome, work_service_client::WorkServiceClient,
};

use super::change;
use crate::{Artifact, Client, Error, Result, convert};

/// How work that somebody asked for stands.
#[derive(Debug, Clone)]
pub enum Reserved {
    /// It was done before.
    Done {
        /// The run that did it.
        run: pb::Run,
        /// What it made, in the order in which it did.
        artifacts: Vec<Artifact>,
    },
    /// The caller has it now, and saves under its run ([`Client::with_run`]).
    Leased(pb::WorkLease),
    /// Somebody else has it.
    Held(pb::WorkLease),
}

impl Client {
    /// Commits what a run used and made, what it says of artifacts, which aliases it moves
    /// and what it collects, in one transaction.
    pub async fn commit_work(&self, work: pb::CommitWorkRequest) -> Result<pb::CommitWorkResponse> {
        change!(self, WorkServiceClient, commit_work, "CommitWork", work)
    }

    /// Asks for the outputs of a transform that is given these inputs and params. They are
    /// answered when they were made before; else one of all who ask gets the work.
    ///
    /// ```no_run
    /// # async fn example(client: artifactd_client::Client) -> Result<(), artifactd_client::Error> {
    /// use artifactd_client::{Reserved, messages as pb};
    ///
    /// let request = pb::ReserveOutputRequest {
    ///     transform: Some(pb::TransformRef {
    ///         r#ref: Some(pb::transform_ref::Ref::Key("clean.py".to_owned())),
    ///         version: None,
    ///     }),
    ///     ..Default::default()
    /// };
    /// match client.reserve_output(request).await? {
    ///     Reserved::Done { artifacts, .. } => println!("{} were made before", artifacts.len()),
    ///     Reserved::Leased(lease) => {
    ///         let run = lease.run.unwrap_or_default();
    ///         let working = client.with_run(&run.uid)?;
    ///         working.save(&b"a,b\n1,2\n"[..], "clean.csv").await?;
    ///     }
    ///     Reserved::Held(_) => println!("somebody else is at it"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reserve_output(&self, request: pb::ReserveOutputRequest) -> Result<Reserved> {
        let answer = change!(self, WorkServiceClient, reserve_output, "ReserveOutput", request)?;
        match answer.result {
            Some(Outcome::Existing(existing)) => Ok(Reserved::Done {
                run: existing
                    .run
                    .ok_or_else(|| Error::Answer("outputs without their run".to_owned()))?,
                artifacts: convert::artifacts(existing.artifacts)?,
            }),
            Some(Outcome::Leased(lease)) => Ok(Reserved::Leased(lease)),
            Some(Outcome::Held(lease)) => Ok(Reserved::Held(lease)),
            None => Err(Error::Answer("a reservation that says nothing".to_owned())),
        }
    }
}
