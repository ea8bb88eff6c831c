//! `artifactctl completions`

use std::io;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{
    args::Args,
    exit::{Code, Failure},
};

/// Print what lets a shell complete commands and flags
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_parser = clap::value_parser!(Shell), value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(command: &Completions) -> Result<Code, Failure> {
    let mut text = Vec::new();
    generate(command.shell, &mut Args::command(), "artifactctl", &mut text);
    let written = io::Write::write_all(&mut io::stdout(), &text);
    written.map(|()| Code::Done).map_err(|error| Failure::output(&error))
}
