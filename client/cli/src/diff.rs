//! `artifactctl diff`

use artifactd_client::{Artifact, FolderDiff, ToMessage, domain::manifest::Difference};
use artifactd_proto::v1 as pb;

use crate::{
    Context,
    exit::{Code, Failure},
    output::size,
};

/// Show what differs between two artifacts, of folders file by file
#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    /// The old one
    old: String,
    /// The new one
    new: String,
    /// End with code 11 when something differs
    #[arg(long)]
    exit_code: bool,
}

pub(crate) async fn run(context: &mut Context, command: Diff) -> Result<Code, Failure> {
    let client = context.settings.connect().await?;
    let old = client.get(&command.old).await?;
    let new = client.get(&command.new).await?;
    let differs = match (old.n_objects, new.n_objects) {
        (Some(_), Some(_)) => {
            // By uid, so that these two are compared even when the references lead elsewhere now.
            let diff = client.diff_folders(old.uid, new.uid).await?;
            print(context, &diff)?;
            !diff.differences.is_empty()
        }
        (None, None) => {
            context.output.message("DiffHead", &head(&old, &new))?;
            let differs = (old.sha256, old.size_bytes) != (new.sha256, new.size_bytes);
            if differs {
                let (before, after) = (size(old.size_bytes), size(new.size_bytes));
                context.output.line(&format!("content differs: {before}, {after}"))?;
            }
            differs
        }
        _ => return Err(Failure::new(Code::Conflict, "one is a file, the other a folder")),
    };
    Ok(match differs && command.exit_code {
        true => Code::Differs,
        false => Code::Done,
    })
}

fn head(old: &Artifact, new: &Artifact) -> pb::DiffHead {
    pb::DiffHead {
        old: Some(old.to_message()),
        new: Some(new.to_message()),
    }
}

fn print(context: &mut Context, diff: &FolderDiff) -> Result<(), Failure> {
    let output = &mut context.output;
    output.message("DiffHead", &head(&diff.old, &diff.new))?;
    let mut differences: Vec<&Difference> = diff.differences.iter().collect();
    differences.sort_by_key(|difference| match difference {
        Difference::Added(member) | Difference::Removed(member) => member.path.clone(),
        Difference::Changed { after, .. } => after.path.clone(),
        Difference::Moved { to, .. } => to.path.clone(),
    });
    for difference in differences {
        output.message("FolderDifference", &difference.to_message())?;
        output.line(&match difference {
            Difference::Added(member) => format!("A {} ({})", member.path, size(member.size_bytes)),
            Difference::Removed(member) => format!("D {} ({})", member.path, size(member.size_bytes)),
            Difference::Changed { before, after } => {
                let (before_size, after_size) = (size(before.size_bytes), size(after.size_bytes));
                format!("M {} ({before_size}, {after_size})", after.path)
            }
            Difference::Moved { from, to } => format!("R {from} -> {}", to.path),
        })?;
    }
    if diff.moves_may_be_missing {
        output.line("(so much differs that some moved files are shown as D and A)")?;
    }
    Ok(())
}
