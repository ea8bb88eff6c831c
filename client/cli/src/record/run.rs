//! `artifactctl run`

use artifactd_client::messages::{self as pb, RunStatus};
use clap::{Subcommand, ValueEnum};
use futures::TryStreamExt;

use super::{
    exec::{self, Exec},
    names::{self, Valued},
    reserve::{self, Reserve},
    said,
};
use crate::{
    Context,
    exit::{Code, Failure},
};

/// Runs: what reads and makes artifacts
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Exec(Exec),
    /// Begin a run; its uid is for --run and ARTIFACTD_RUN
    Begin {
        #[command(flatten)]
        what: What,
        /// It begins later, with `run start`
        #[arg(long)]
        scheduled: bool,
    },
    Reserve(Reserve),
    /// Start one that was scheduled
    Start {
        /// Its uid
        uid: String,
    },
    /// End one
    Finish {
        /// Its uid
        uid: String,
        /// How it ended
        #[arg(long = "as", value_name = "HOW", default_value = "completed")]
        how: End,
        /// Exit code of its program
        #[arg(long)]
        exit_code: Option<i32>,
        /// What went wrong
        #[arg(long)]
        error: Option<String>,
    },
    /// Say that a run has used artifacts that it did not read from the server
    Input {
        /// Its uid
        uid: String,
        /// The artifacts
        #[arg(required = true)]
        artifacts: Vec<String>,
    },
    /// List runs, newest first
    Ls {
        /// Only of this transform: a version, or by stem or key all of them
        #[arg(long, value_name = "TRANSFORM")]
        of: Option<String>,
        /// At most so many
        #[arg(long, short = 'n', value_name = "NUMBER")]
        limit: Option<usize>,
    },
    /// Show one
    Show {
        /// Its uid
        uid: String,
    },
    /// Delete one that has made and read nothing
    Rm {
        /// Its uid
        uid: String,
    },
}

/// What a run is.
#[derive(Debug, clap::Args)]
pub(crate) struct What {
    /// The transform that it is a run of: its uid, its stem or KEY[@@VERSION]
    #[arg(long, value_name = "TRANSFORM")]
    of: Option<String>,
    /// A name for people
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What it is called with
    #[arg(long = "param", short, value_name = "NAME=VALUE", value_parser = names::valued)]
    params: Vec<Valued>,
    /// Where more is known of it, such as the address of a job
    #[arg(long)]
    reference: Option<String>,
}

impl What {
    pub(crate) fn request(&self) -> pb::CreateRunRequest {
        pb::CreateRunRequest {
            transform: self.of.as_deref().map(names::transform),
            name: self.name.clone(),
            params: names::params(&self.params),
            reference: self.reference.clone(),
            ..Default::default()
        }
    }
}

/// How a run ends.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum End {
    Completed,
    Failed,
    Aborted,
}

impl From<End> for RunStatus {
    fn from(end: End) -> Self {
        match end {
            End::Completed => Self::Completed,
            End::Failed => Self::Failed,
            End::Aborted => Self::Aborted,
        }
    }
}

impl Run {
    /// Whether it runs a command, which hears of signals itself.
    pub(crate) fn is_exec(&self) -> bool {
        matches!(self.command, Command::Exec(_))
    }
}

pub(crate) async fn run(context: &mut Context, command: Run) -> Result<Code, Failure> {
    if let Command::Exec(exec) = command.command {
        return exec::run(context, exec).await;
    }
    let client = context.settings.connect().await?;
    match command.command {
        Command::Exec(_) => unreachable!("it was just taken"),
        Command::Begin { what, scheduled } => {
            let request = pb::CreateRunRequest {
                scheduled,
                ..what.request()
            };
            show(context, &client.create_run(request).await?)?;
        }
        Command::Reserve(reserve) => return reserve::run(context, &client, reserve).await,
        Command::Start { uid } => show(context, &client.start_run(uid).await?)?,
        Command::Finish {
            uid,
            how,
            exit_code,
            error,
        } => {
            let request = pb::FinishRunRequest {
                uid,
                status: RunStatus::from(how).into(),
                exit_code,
                error,
                request_id: None,
            };
            show(context, &client.finish_run(request).await?)?;
        }
        Command::Input { uid, artifacts } => {
            let request = pb::AddRunInputsRequest {
                uid,
                artifacts: names::artifacts(&artifacts)?,
                request_id: None,
            };
            let added = client.add_run_inputs(request).await?;
            context
                .output
                .message("AddRunInputsResponse", &pb::AddRunInputsResponse { added })?;
            context.output.line(&format!("{added} new inputs"))?;
        }
        Command::Ls { of, limit } => {
            let limit = limit.unwrap_or(usize::MAX);
            let request = pb::ListRunsRequest {
                transform: of.as_deref().map(names::transform),
                page_size: limit.min(1_000) as i32,
                ..Default::default()
            };
            let mut runs = Box::pin(client.runs(request));
            let mut listed = 0;
            while listed < limit
                && let Some(run) = runs.try_next().await?
            {
                listed += 1;
                show(context, &run)?;
            }
        }
        Command::Show { uid } => {
            let run = client.get_run(uid).await?;
            show(context, &run)?;
            for line in details(&run) {
                context.output.line(&line)?;
            }
        }
        Command::Rm { uid } => {
            let request = pb::DeleteRunRequest {
                uid: uid.clone(),
                ..Default::default()
            };
            client.delete_run(request).await?;
            context.output.line(&format!("deleted {uid}"))?;
        }
    }
    Ok(Code::Done)
}

fn show(context: &mut Context, run: &pb::Run) -> Result<(), Failure> {
    context.output.message("Run", run)?;
    let at = said::time(run.started_at.as_ref().or(run.created_at.as_ref()));
    let name = said::run_name(run.transform.as_ref(), run.name.as_deref());
    let status = said::status(run.status());
    context.output.line(&format!("{}  {status:<9}  {at}  {name}", run.uid))
}

/// What else is known of a run, a line each.
fn details(run: &pb::Run) -> Vec<String> {
    let param = |param: &pb::RunParam| {
        let value = param.value.as_ref().map(said::value);
        format!("param {} = {}", param.name, value.unwrap_or_default())
    };
    let mut lines: Vec<String> = run.params.iter().map(param).collect();
    let known = [
        ("exit code", run.exit_code.map(|code| code.to_string())),
        ("error", run.error.clone()),
        ("finished", run.finished_at.as_ref().map(|at| said::time(Some(at)))),
        ("reference", run.reference.clone()),
        ("report", run.report_uid.clone()),
        ("environment", run.environment_uid.clone()),
        ("begun by", run.initiated_by_uid.clone()),
    ];
    let known = known
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    lines.extend(known);
    lines
}
