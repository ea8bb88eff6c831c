//! `artifactctl run reserve`

use artifactd_client::{Client, Reserved, messages as pb};

use super::{
    names::{self, Valued},
    said,
};
use crate::{
    Context,
    exit::{Code, Failure},
};

/// Ask for work: what it has made before, or else the work itself, as a run that has begun
///
/// The line says `done`, `leased` or `held`. Where somebody else has the work, the exit code
/// is that of a conflict.
#[derive(Debug, clap::Args)]
pub(super) struct Reserve {
    /// The transform: its uid, its stem or KEY[@@VERSION]
    transform: String,
    /// An input; what it holds counts, not what it is called
    #[arg(long = "input", short, value_name = "ARTIFACT")]
    inputs: Vec<String>,
    /// sha256 of an input that is no artifact
    #[arg(long = "digest", value_name = "SHA256")]
    digests: Vec<String>,
    /// What it is called with
    #[arg(long = "param", short, value_name = "NAME=VALUE", value_parser = names::valued)]
    params: Vec<Valued>,
    /// For how long
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    lease: i32,
    /// The run of who has the work already, and needs it for longer
    #[arg(long = "keep", value_name = "RUN")]
    run: Option<String>,
    /// A name of the run for people
    #[arg(long)]
    name: Option<String>,
}

pub(super) async fn run(context: &mut Context, client: &Client, reserve: Reserve) -> Result<Code, Failure> {
    let request = pb::ReserveOutputRequest {
        transform: Some(names::transform(&reserve.transform)),
        inputs: names::artifacts(&reserve.inputs)?,
        input_digests: reserve.digests,
        params: names::params(&reserve.params),
        lease_seconds: reserve.lease,
        run_uid: reserve.run,
        name: reserve.name,
        request_id: None,
    };
    match client.reserve_output(request).await? {
        Reserved::Done { run, artifacts } => {
            context.output.line(&format!("done by {}", run.uid))?;
            for artifact in artifacts {
                context.output.artifact(&artifact)?;
            }
            Ok(Code::Done)
        }
        Reserved::Leased(lease) => told(context, "leased", lease).map(|()| Code::Done),
        Reserved::Held(lease) => told(context, "held", lease).map(|()| Code::Conflict),
    }
}

fn told(context: &mut Context, how: &str, lease: pb::WorkLease) -> Result<(), Failure> {
    context.output.message("WorkLease", &lease)?;
    let until = said::time(lease.expires_at.as_ref());
    let run = lease.run.unwrap_or_default();
    context.output.line(&format!("{how} {}  until {until}", run.uid))
}
