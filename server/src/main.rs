//! The `artifactd` command: parse, read the configuration, start the log, run.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use artifactd_server::{
    config::{Config, ConfigErrors, DatabaseConfig, Sources},
    data_dir::DataDir,
    registry::{self, Amount, Collection, GarbageReason, GarbageReport, Registry, StorageGarbage, VerifyReport},
    serve::{self, registry_config},
    telemetry,
};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Could not run: the configuration, the data folder, the database, the address.
const COULD_NOT_RUN: u8 = 3;

/// How long threads that still block may hold up the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// SIGXFSZ, which has no name in tokio.
const FILE_TOO_LARGE: i32 = 25;

const DEFAULT_FILE: &str = "artifactd.toml";

const NOTES: &str = "\
Settings come from a file, the environment (ARTIFACTD_SECTION__KEY, as in
ARTIFACTD_SERVER__LISTEN) and flags; the later one counts.

Exit codes:
  0  done, and nothing is wrong
  2  `verify` found rows without bytes or wrong bytes
  3  could not run; the reason is on standard error";

/// A service for data artifacts: keeps, versions, finds and serves them.
#[derive(Debug, Parser)]
#[command(name = "artifactd", version, after_help = NOTES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT; calls in flight may end, a second signal stops at once.
    #[command(after_help = NOTES)]
    Serve {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        listener: ListenerFlags,
        /// Writes the bound address to this file once calls are taken.
        #[arg(long, value_name = "PATH")]
        ready_file: Option<PathBuf>,
    },
    /// Brings the schema of the database up to date, and ends.
    #[command(after_help = NOTES)]
    Migrate {
        #[command(flatten)]
        common: CommonFlags,
    },
    /// Compares records with stored bytes.
    #[command(after_help = NOTES)]
    Verify {
        #[command(flatten)]
        common: CommonFlags,
        /// Reads every byte again and checks its digest.
        #[arg(long)]
        deep: bool,
        /// Reports as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Removes bytes that nothing needs any more. A running server does this by itself.
    #[command(after_help = NOTES)]
    Gc {
        #[command(flatten)]
        common: CommonFlags,
        /// Only says what would go.
        #[arg(long)]
        dry_run: bool,
        /// Collects although the storage holds more than the database may know of: after a
        /// copy of the database was restored, and nothing newer is to be had.
        #[arg(long)]
        accept_restored_database: bool,
        /// Reports as JSON.
        #[arg(long)]
        json: bool,
    },
    /// What concerns the configuration alone.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Reads all settings, reports everything that is wrong with them, and ends.
    #[command(after_help = NOTES)]
    Check {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        listener: ListenerFlags,
    },
}

#[derive(Debug, Args)]
struct CommonFlags {
    /// File of settings; `artifactd.toml` in the current folder when there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the embedded database, the embedded storage and the master key.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// How lines of the log look: text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Debug, Default, Args)]
struct ListenerFlags {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Serves an address that others can reach, without TLS and without login.
    #[arg(long)]
    insecure: bool,
}

fn main() -> ExitCode {
    artifactd_heap::bound();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => {
            let _ = asked.print();
            return ExitCode::from(if asked.use_stderr() { COULD_NOT_RUN } else { 0 });
        }
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            report(&*error);
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

type Outcome = Result<ExitCode, Box<dyn Error>>;

fn run(command: Command) -> Outcome {
    match command {
        Command::Serve {
            common,
            listener,
            ready_file,
        } => {
            let config = begin(common, listener)?;
            block_on(run_server(config, ready_file))
        }
        Command::Migrate { common } => {
            let config = begin(common, ListenerFlags::default())?;
            block_on(migrate(config))
        }
        Command::Verify { common, deep, json } => {
            let config = begin(common, ListenerFlags::default())?;
            block_on(verify(config, deep, json))
        }
        Command::Gc {
            common,
            dry_run,
            accept_restored_database,
            json,
        } => {
            let config = begin(common, ListenerFlags::default())?;
            let how = Collection {
                dry_run,
                thorough: true,
                accepts_restored: accept_restored_database,
            };
            block_on(gc(config, how, json))
        }
        Command::Config {
            command: ConfigCommand::Check { common, listener },
        } => {
            load(common, listener)?;
            say("the configuration is valid")
        }
    }
}

/// Reads the configuration and starts the log.
fn begin(common: CommonFlags, listener: ListenerFlags) -> Result<Config, Box<dyn Error>> {
    let config = load(common, listener)?;
    telemetry::start(&config.log)?;
    Ok(config)
}

fn load(common: CommonFlags, listener: ListenerFlags) -> Result<Config, ConfigErrors> {
    let flags = [
        ("--data-dir", "data_dir", common.data_dir),
        ("--log-format", "log.format", common.log_format),
        ("--listen", "server.listen", listener.listen),
        (
            "--insecure",
            "server.insecure",
            listener.insecure.then(|| "true".to_owned()),
        ),
    ];
    let flags = flags
        .into_iter()
        .filter_map(|(flag, setting, value)| Some((flag, setting, value?)));
    Config::load(Sources {
        file: common.config,
        default_file: Some(PathBuf::from(DEFAULT_FILE)),
        environment: std::env::vars_os().collect(),
        flags: flags.collect(),
    })
}

fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    outcome
}

async fn run_server(config: Config, ready_file: Option<PathBuf>) -> Outcome {
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let ready = |address| tell_ready(address, ready_file.as_deref());
    let mut served = pin!(serve::serve(config, ready, stop.clone().cancelled_owned()));
    tokio::select! {
        served = &mut served => return Ok(served.map(|()| ExitCode::SUCCESS)?),
        name = signals.next() => tracing::info!("Received {name}: waiting for calls in flight"),
    }
    stop.cancel();
    tokio::select! {
        served = &mut served => served?,
        name = signals.next() => tracing::warn!("Received {name} again: stopping at once"),
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_ready(address: SocketAddr, ready_file: Option<&Path>) {
    let written = ready_file.map_or(Ok(()), |file| write_whole(file, &address.to_string()));
    if let Err(error) = written {
        tracing::error!(error = &error as &dyn Error, "Cannot write the ready file");
    }
    tracing::info!("Listening on {address}");
    let _ = say(&format!("artifactd listening on {address}"));
}

/// Whoever waits for the file must never see half of it.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".new");
    fs::write(&draft, text)?;
    fs::rename(&draft, file)
}

async fn migrate(config: Config) -> Outcome {
    let _folder = DataDir::open(&config.data_dir)?;
    let opened = Registry::open(registry_config(&config)).await?;
    opened.finish().await;
    say("the schema is up to date")
}

async fn verify(config: Config, deep: bool, json: bool) -> Outcome {
    let report = registry::verify(registry_config(&config), deep).await?;
    if json {
        say(&serde_json::to_string_pretty(&report)?)?;
    } else {
        say(&in_words(&report))?;
    }
    Ok(ExitCode::from(report.exit_code()))
}

async fn gc(config: Config, how: Collection, json: bool) -> Outcome {
    // Beside a server, the server collects; of a PostgreSQL database many may.
    let _folder = match &config.database {
        DatabaseConfig::Sqlite(_) => Some(DataDir::open(&config.data_dir)?),
        DatabaseConfig::Postgres { .. } => None,
    };
    let opened = Registry::open(registry_config(&config)).await?;
    let report = opened.collect(how).await;
    opened.finish().await;
    let report = report?;
    if json {
        return say(&serde_json::to_string_pretty(&report)?);
    }
    say(&gc_in_words(&report))
}

fn gc_in_words(report: &GarbageReport) -> String {
    let GarbageReport {
        dry_run,
        storages,
        unused_blobs,
        old_requests,
    } = report;
    let did = if *dry_run { "would remove" } else { "removed" };
    let mut lines = Vec::new();
    for StorageGarbage {
        storage,
        collected,
        waiting,
        failed,
        missing,
    } in storages
    {
        let amounts = |what: &str, amounts: &BTreeMap<GarbageReason, Amount>| {
            let line = |(reason, Amount { objects, bytes }): (&GarbageReason, &Amount)| {
                format!(
                    "{storage}: {what} {objects} objects, {bytes} bytes: {}",
                    reason_in_words(*reason)
                )
            };
            amounts.iter().map(line).collect::<Vec<_>>()
        };
        lines.extend(amounts(did, collected));
        lines.extend(amounts("waiting for the grace:", waiting));
        if *failed > 0 {
            lines.push(format!("{storage}: {failed} could not be removed now"));
        }
        if *missing > 0 {
            lines.push(format!(
                "{storage}: {missing} objects that records need are missing; `artifactd verify` says which"
            ));
        }
    }
    lines.push(format!(
        "{did} {unused_blobs} records of unused content and {old_requests} old requests"
    ));
    lines.join("\n")
}

fn reason_in_words(reason: GarbageReason) -> &'static str {
    match reason {
        GarbageReason::Unused => "nothing needs what was in them",
        GarbageReason::Orphan => "no record names them",
        GarbageReason::Unfinished => "they were never finished",
        GarbageReason::Sparse => "unneeded parts of packs",
    }
}

fn in_words(report: &VerifyReport) -> String {
    let VerifyReport {
        deep,
        checked,
        findings,
        faults,
        garbage,
        kept,
    } = report;
    let mut lines = Vec::new();
    for finding in findings {
        let weight = if finding.fault { "fault" } else { "garbage" };
        lines.push(format!(
            "{weight} {}: {}: {}",
            finding.code, finding.subject, finding.what
        ));
    }
    lines.extend(kept.iter().map(|(sha256, size)| format!("kept {sha256}: {size} bytes")));
    let how = if *deep { "every byte" } else { "sizes and names" };
    lines.push(format!(
        "checked {how} of {} artifacts in {} families: {} blobs in {} objects, {} bytes; {} events",
        checked.artifacts, checked.families, checked.blobs, checked.objects, checked.bytes, checked.events
    ));
    lines.push(format!(
        "{faults} faults, {garbage} pieces of garbage, {} kept blobs",
        kept.len()
    ));
    lines.join("\n")
}

/// Answers on standard output. Nobody reading it is no reason to fail.
fn say(text: &str) -> Outcome {
    let _ = writeln!(io::stdout(), "{text}");
    Ok(ExitCode::SUCCESS)
}

/// Tells the whole chain of an error, one line for each error of a configuration.
fn report(error: &(dyn Error + 'static)) {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    let _ = writeln!(io::stderr(), "artifactd: {text}");
}

/// The signals that stop a server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Only held: with a listener a write above a limit answers EFBIG instead of ending the process.
    _file_too_large: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_too_large: signal(SignalKind::from_raw(FILE_TOO_LARGE))?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
