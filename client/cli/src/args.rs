//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{
    alias::Alias,
    cat::Cat,
    completions::Completions,
    cp::Cp,
    diff::Diff,
    export::Export,
    find::Find,
    get::Get,
    head::Head,
    info::Info,
    ls::Ls,
    put::Put,
    record::{
        annotate::Annotate,
        collection::Collection,
        describe::Describe,
        feature::{Feature, Param},
        label::Label,
        lineage::Lineage,
        run::Run,
        schemas::Schemas,
        storage::Storage,
        transform::Transform,
        watch::Watch,
    },
    replace::Replace,
    restore::Restore,
    rm::Rm,
    schema::Schema,
    search::Search,
    status::Status,
    versions::Versions,
};

const REFERENCES: &str = "\
An artifact is named by its uid (this version), its stem (the latest version), or as
[STORAGE::]KEY[@@VERSION], for example `cells/pbmc68k.h5ad` or `cells/pbmc68k.h5ad@@2`.

Settings come from flags, from ARTIFACTD_ENDPOINT, ARTIFACTD_TOKEN and ARTIFACTD_SPACE,
and from artifactctl.toml in the user's configuration folder; the first that is set counts.

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 denied, 6 unavailable,
7 damaged content, 8 local file, 9 not confirmed, 10 partly failed, 11 differs,
130 interrupted, 141 output closed, 143 terminated. `run exec` ends as its command does.";

/// Artifacts from the command line: save, find, read and manage them on an artifactd server.
#[derive(Debug, Parser)]
#[command(name = "artifactctl", version, after_help = REFERENCES, propagate_version = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What goes for every command.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// The server, as http:// or https://; `http://127.0.0.1:50051` unless set
    #[arg(long, global = true, env = "ARTIFACTD_ENDPOINT", value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Key with which to call; better in the environment or a file, as others see flags
    #[arg(
        long,
        global = true,
        env = "ARTIFACTD_TOKEN",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) token: Option<String>,
    /// File that holds the key
    #[arg(long, global = true, env = "ARTIFACTD_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Space in which to work; your home space unless set
    #[arg(long, global = true, env = "ARTIFACTD_SPACE", value_name = "NAME")]
    pub(crate) space: Option<String>,
    /// Run for which to call: what is written is its output, what is read its input
    #[arg(long, global = true, env = "ARTIFACTD_RUN", value_name = "UID")]
    pub(crate) run: Option<String>,
    /// Authority to trust for https://, PEM; those of the system unless set
    #[arg(long, global = true, env = "ARTIFACTD_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// File of settings
    #[arg(long, global = true, env = "ARTIFACTCTL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the messages of the protos as JSON, one a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Put(Put),
    Get(Get),
    Cat(Cat),
    Cp(Cp),
    Ls(Ls),
    Find(Find),
    Search(Search),
    Info(Info),
    Versions(Versions),
    Head(Head),
    Schema(Schema),
    Export(Export),
    Diff(Diff),
    Rm(Rm),
    Restore(Restore),
    Replace(Replace),
    Alias(Alias),
    Annotate(Annotate),
    Describe(Describe),
    Feature(Feature),
    Param(Param),
    Schemas(Schemas),
    Label(Label),
    Transform(Transform),
    Run(Run),
    Lineage(Lineage),
    Collection(Collection),
    Storage(Storage),
    Watch(Watch),
    Status(Status),
    Completions(Completions),
}

impl Command {
    /// Whether the same command goes on with what a stopped one has left.
    pub(crate) fn goes_on(&self) -> bool {
        match self {
            Self::Put(put) => put.goes_on(),
            Self::Get(_) => true,
            _ => false,
        }
    }

    /// Whether it hears of signals itself.
    pub(crate) fn hears_signals(&self) -> bool {
        matches!(self, Self::Run(run) if run.is_exec())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    /// One in so many begins so: tokens are drawn by chance.
    #[test]
    fn a_resume_token_may_begin_with_a_hyphen() {
        let args = Args::try_parse_from(["artifactctl", "watch", "--resume", "-c0", "-n", "1"]);
        assert!(args.is_ok(), "{args:?}");
    }
}
