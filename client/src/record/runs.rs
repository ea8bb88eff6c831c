//! Runs: what reads and makes artifacts.

use artifactd_proto::v1::{self as pb, run_service_client::RunServiceClient};
use futures::Stream;

use super::{all_pages, call, change};
use crate::{Client, Result};

impl Client {
    /// Begins a run. [`Client::with_run`] makes the calls that belong to it.
    pub async fn create_run(&self, run: pb::CreateRunRequest) -> Result<pb::Run> {
        change!(self, RunServiceClient, create_run, "CreateRun", run)
    }

    /// Finds a run.
    pub async fn get_run(&self, uid: impl Into<String>) -> Result<pb::Run> {
        let message = pb::GetRunRequest { uid: uid.into() };
        call!(self, RunServiceClient, get_run, "GetRun", message)
    }

    /// Runs, newest first.
    pub fn runs(&self, request: pb::ListRunsRequest) -> impl Stream<Item = Result<pb::Run>> + Send + use<> {
        let client = self.clone();
        all_pages(move |page_token| {
            let (client, request) = (client.clone(), request.clone());
            async move {
                let message = pb::ListRunsRequest { page_token, ..request };
                let page = call!(client, RunServiceClient, list_runs, "ListRuns", message)?;
                Ok((page.runs, page.next_page_token))
            }
        })
    }

    /// Changes what is said of a run.
    pub async fn update_run(&self, update: pb::UpdateRunRequest) -> Result<pb::Run> {
        change!(self, RunServiceClient, update_run, "UpdateRun", update)
    }

    /// Starts a run that was scheduled.
    pub async fn start_run(&self, uid: impl Into<String>) -> Result<pb::Run> {
        let message = pb::StartRunRequest {
            uid: uid.into(),
            request_id: None,
        };
        change!(self, RunServiceClient, start_run, "StartRun", message)
    }

    /// Ends a run.
    pub async fn finish_run(&self, end: pb::FinishRunRequest) -> Result<pb::Run> {
        change!(self, RunServiceClient, finish_run, "FinishRun", end)
    }

    /// Notes artifacts that a run has read on ways that the server did not see. Answers how many were new.
    pub async fn add_run_inputs(&self, request: pb::AddRunInputsRequest) -> Result<i64> {
        let answer = change!(self, RunServiceClient, add_run_inputs, "AddRunInputs", request)?;
        Ok(answer.added)
    }

    /// Deletes a run that has made and read nothing.
    pub async fn delete_run(&self, request: pb::DeleteRunRequest) -> Result<()> {
        change!(self, RunServiceClient, delete_run, "DeleteRun", request).map(drop)
    }
}
