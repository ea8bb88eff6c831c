//! `artifactctl`: artifacts from the command line.
//!
//! One file a command; what they share:
//!
//! - `args` parses the command line, `settings` adds environment and file;
//! - `record` holds the commands for all that is not content;
//! - `selection` says what is read of a table;
//! - `output` prints for people or as the protos' JSON, `progress` shows transfers on a
//!   terminal, `confirm` asks before anything that cannot be undone;
//! - `exit` is the table of exit codes.
//!
//! Nothing here knows how the server is called: that is the client crate's.

mod alias;
mod args;
mod cat;
mod completions;
mod confirm;
mod cp;
mod diff;
mod exit;
mod export;
mod find;
mod get;
mod head;
mod info;
mod ls;
mod output;
mod progress;
mod put;
mod record;
mod replace;
mod restore;
mod rm;
mod schema;
mod search;
mod selection;
mod settings;
mod status;
mod unfinished;
mod versions;

use std::process;

use args::{Args, Command};
use clap::Parser;
use exit::{Code, Failure};
use output::Output;
use settings::Settings;
use tokio::signal::unix::{SignalKind, signal};

/// What every command gets.
struct Context {
    settings: Settings,
    output: Output,
    /// Whether progress may be shown.
    shows_progress: bool,
}

fn main() {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new();
    let code = match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(until_signal(args));
            // Whoever still reads or writes a file leaves it as a kill would.
            runtime.shutdown_background();
            code
        }
        Err(error) => exit::report(&Failure::new(Code::Failed, format!("no threads can be had: {error}"))),
    };
    process::exit(code.into());
}

/// Runs the command, or until somebody wants it to end. Dropping it leaves nothing that
/// the same command could not go on with.
async fn until_signal(args: Args) -> Code {
    let (interrupted, terminated) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupted), Ok(mut terminated)) = (interrupted, terminated) else {
        return exit::report(&Failure::new(Code::Failed, "signals cannot be heard"));
    };
    if args.command.hears_signals() {
        return Box::pin(run(args))
            .await
            .unwrap_or_else(|failure| exit::report(&failure));
    }
    let goes_on = args.command.goes_on();
    let failure = tokio::select! {
        done = Box::pin(run(args)) => match done {
            Ok(code) => return code,
            Err(failure) => failure,
        },
        _ = interrupted.recv() => stopped(Code::Interrupted, goes_on),
        _ = terminated.recv() => stopped(Code::Terminated, goes_on),
    };
    exit::report(&failure)
}

fn stopped(code: Code, goes_on: bool) -> Failure {
    let text = match goes_on {
        true => "stopped; the same command goes on where it was",
        false => "stopped",
    };
    Failure::new(code, text)
}

async fn run(args: Args) -> Result<Code, Failure> {
    if let Command::Completions(command) = &args.command {
        return completions::run(command);
    }
    let mut context = Context {
        output: Output::new(args.global.json),
        shows_progress: !args.global.quiet,
        settings: Settings::read(&args.global)?,
    };
    let done = match args.command {
        Command::Put(command) => Box::pin(put::run(&mut context, command)).await,
        Command::Get(command) => get::run(&mut context, command).await,
        Command::Cat(command) => cat::run(&mut context, command).await,
        Command::Cp(command) => Box::pin(cp::run(&mut context, command)).await,
        Command::Ls(command) => ls::run(&mut context, command).await,
        Command::Find(command) => find::run(&mut context, command).await,
        Command::Search(command) => search::run(&mut context, command).await,
        Command::Info(command) => info::run(&mut context, command).await,
        Command::Versions(command) => versions::run(&mut context, command).await,
        Command::Head(command) => head::run(&mut context, command).await,
        Command::Schema(command) => schema::run(&mut context, command).await,
        Command::Export(command) => export::run(&mut context, command).await,
        Command::Diff(command) => diff::run(&mut context, command).await,
        Command::Rm(command) => rm::run(&mut context, command).await,
        Command::Restore(command) => restore::run(&mut context, command).await,
        Command::Replace(command) => replace::run(&mut context, command).await,
        Command::Alias(command) => alias::run(&mut context, command).await,
        Command::Annotate(command) => record::annotate::run(&mut context, command).await,
        Command::Describe(command) => record::describe::run(&mut context, command).await,
        Command::Feature(command) => record::feature::run_feature(&mut context, command).await,
        Command::Param(command) => record::feature::run_param(&mut context, command).await,
        Command::Schemas(command) => record::schemas::run(&mut context, command).await,
        Command::Label(command) => record::label::run(&mut context, command).await,
        Command::Transform(command) => record::transform::run(&mut context, command).await,
        Command::Run(command) => record::run::run(&mut context, command).await,
        Command::Lineage(command) => record::lineage::run(&mut context, command).await,
        Command::Collection(command) => record::collection::run(&mut context, command).await,
        Command::Storage(command) => record::storage::run(&mut context, command).await,
        Command::Watch(command) => record::watch::run(&mut context, command).await,
        Command::Status(command) => status::run(&mut context, command).await,
        Command::Completions(_) => unreachable!("it needs no settings"),
    };
    let flushed = context.output.flush();
    done.and_then(|code| flushed.map(|()| code))
}
